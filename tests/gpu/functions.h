/* The functions of NVML; included by fakenvml.c. */

/* ------------------------------------------------------------------------------------------------- the library */

EXPORT int nvmlInit_v2(void) {
    TRY(begin("nvmlInit_v2", 1));
    TRY(scripted_fault("nvmlInit_v2", NULL));
    __atomic_add_fetch(&users, 1, __ATOMIC_RELAXED);
    return SUCCESS;
}

EXPORT int nvmlInitWithFlags(unsigned flags) { return (void)flags, nvmlInit_v2(); }

EXPORT int nvmlShutdown(void) {
    SYSTEM();
    __atomic_sub_fetch(&users, 1, __ATOMIC_RELAXED);
    return SUCCESS;
}

EXPORT const char *nvmlErrorString(int code) {
    static const struct { int code; const char *words; } errors[] = {
        {0, "Success"}, {1, "Uninitialized"}, {2, "Invalid Argument"}, {3, "Not Supported"},
        {4, "Insufficient Permissions"}, {6, "Not Found"}, {7, "Insufficient Size"}, {9, "Driver Not Loaded"},
        {10, "Timeout"}, {12, "NVML Shared Library Not Found"}, {13, "Function Not Found"}, {15, "GPU is lost"},
        {16, "GPU requires reset"}, {18, "Driver/library version mismatch"}, {25, "Argument version mismatch"},
        {28, "No GPUs found"},
    };
    begin(__func__, 0);
    EACH(error, errors, sizeof errors / sizeof *errors) if (error->code == code) return error->words;
    return "Unknown Error";
}

EXPORT int nvmlSystemGetDriverVersion(char *out, unsigned size) { SYSTEM(); return fill(out, size, scenario->driver_version); }
EXPORT int nvmlSystemGetNVMLVersion(char *out, unsigned size) { SYSTEM(); return fill(out, size, scenario->nvml_version); }

EXPORT int nvmlSystemGetCudaDriverVersion_v2(int *out) { SYSTEM(); return *out = (int)scenario->cuda_version, SUCCESS; }
EXPORT int nvmlSystemGetCudaDriverVersion(int *out) { return nvmlSystemGetCudaDriverVersion_v2(out); }

EXPORT int nvmlSystemGetProcessName(unsigned pid, char *out, unsigned size) {
    SYSTEM();
    int64_t now = now_ns();
    EACH(part, scenario->part, scenario->parts) EACH(process, part->processes, PROCESSES)
        if (process->pid == pid && alive(process, now)) return fill(out, size, process->name);
    return NOT_FOUND;
}

/* ------------------------------------------------------------------------------------------------- identity */

static int hand_out(part_t *part, device_t *out) { return *out = (device_t)(part - scenario->part + 1), SUCCESS; }

EXPORT int nvmlDeviceGetCount_v2(unsigned *out) { SYSTEM(); return put(out, scenario->devices); }
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t *out) { FIND(by_index(index, &part)); return hand_out(part, out); }
EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, device_t *out) { FIND(by_uuid(uuid, &part)); return hand_out(part, out); }
EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *id, device_t *out) { FIND(by_pci(id, &part)); return hand_out(part, out); }
EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(device_t handle, unsigned index, device_t *out) {
    FIND(instance_of(handle, index, &part));
    return hand_out(part, out);
}
EXPORT int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device_t handle, device_t *out) {
    FIND(parent_of(handle, &part));
    return hand_out(part, out);
}

EXPORT int nvmlDeviceGetIndex(device_t handle, unsigned *out) { PART(); return put(out, part->index); }
EXPORT int nvmlDeviceGetUUID(device_t handle, char *out, unsigned size) { PART(); return fill(out, size, part->uuid); }
EXPORT int nvmlDeviceGetName(device_t handle, char *out, unsigned size) { PART(); return fill(out, size, part->name); }
EXPORT int nvmlDeviceIsMigDeviceHandle(device_t handle, unsigned *out) { PART(); return put(out, part->parent != NONE); }

static int instance_id(const part_t *part, unsigned *out, int64_t id) { return part->parent == NONE ? NOT_SUPPORTED : put(out, id); }
EXPORT int nvmlDeviceGetGpuInstanceId(device_t handle, unsigned *out) { PART(); return instance_id(part, out, part->gpu_instance); }
EXPORT int nvmlDeviceGetComputeInstanceId(device_t handle, unsigned *out) { PART(); return instance_id(part, out, part->compute_instance); }

EXPORT int nvmlDeviceGetPciInfo_v3(device_t handle, nvmlPciInfo_t *out) {
    PART();
    const part_t *gpu = part->parent == NONE ? part : scenario->part + part->parent;
    size_t length = strlen(gpu->pci_bus_id), skipped = length > 12 ? length - 12 : 0;
    memset(out, 0, sizeof *out);
    sscanf(gpu->pci_bus_id, "%x:%x:%x", &out->domain, &out->bus, &out->device);
    snprintf(out->busId, sizeof out->busId, "%s", gpu->pci_bus_id);
    snprintf(out->busIdLegacy, sizeof out->busIdLegacy, "%s", gpu->pci_bus_id + skipped);
    out->pciDeviceId = (unsigned)gpu->pci_device_id;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetMigMode(device_t handle, unsigned *current, unsigned *pending) {
    GPU();
    *pending = (unsigned)part->mig_mode;
    return put(current, part->mig_mode);
}

EXPORT int nvmlDeviceGetMaxMigDeviceCount(device_t handle, unsigned *out) {
    GPU();
    int64_t instances = 0;
    EACH(each, scenario->part, scenario->parts) instances += each->parent == part - scenario->part;
    return put(out, instances && instances < MOST_INSTANCES ? MOST_INSTANCES : instances);
}

/* ------------------------------------------------------------------------------------------------- memory, processes */

static int is_unified(const part_t *part) {
    return (int)(part->parent == NONE ? part->unified : scenario->part[part->parent].unified);
}

EXPORT int nvmlDeviceGetMemoryInfo(device_t handle, nvmlMemory_t *out) {
    PART();
    if (is_unified(part)) return NOT_SUPPORTED;
    out->total = (uint64_t)part->total;
    out->used = (uint64_t)(allocated(part) + part->reserved);
    out->free = out->total - out->used;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(device_t handle, nvmlMemory_v2_t *out) {
    PART();
    if (out->version != MEMORY_V2) return VERSION_MISMATCH;
    if (is_unified(part)) return NOT_SUPPORTED;
    int64_t used = allocated(part);
    out->total = (uint64_t)part->total;
    out->reserved = (uint64_t)part->reserved;
    out->free = (uint64_t)(part->total - part->reserved - used);
    out->used = (uint64_t)(used + (scenario->v2_used_includes_reserved ? part->reserved : 0));
    return SUCCESS;
}

static unsigned list(part_t *part, int kind, unsigned room, unsigned found, nvmlProcessInfo_t *out) {
    int64_t now = now_ns();
    EACH(process, part->processes, PROCESSES) {
        if (process->kind != kind || !alive(process, now)) continue;
        if (found < room)
            out[found] = (nvmlProcessInfo_t){
                .pid = (unsigned)process->pid,
                .usedGpuMemory = (uint64_t)process->used, /* NONE is NVML's "not available" */
                .gpuInstanceId = (unsigned)part->gpu_instance,
                .computeInstanceId = (unsigned)part->compute_instance,
            };
        found++;
    }
    return found;
}

static int processes(part_t *part, int kind, unsigned *count, nvmlProcessInfo_t *out) {
    unsigned room = *count, found = list(part, kind, room, 0, out);
    EACH(each, scenario->part, scenario->parts)
        if (each->parent == part - scenario->part) found = list(each, kind, room, found, out);
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

#define LIST(name, kind) \
    EXPORT int name(device_t handle, unsigned *count, nvmlProcessInfo_t *out) { PART(); return processes(part, kind, count, out); }
LIST(nvmlDeviceGetComputeRunningProcesses_v3, COMPUTE)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, GRAPHICS)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v3, MPS)

EXPORT int nvmlDeviceGetAccountingMode(device_t handle, unsigned *out) { GPU(); return put(out, part->accounting); }

EXPORT int nvmlDeviceGetAccountingStats(device_t handle, unsigned pid, nvmlAccountingStats_t *out) {
    GPU();
    if (!part->accounting) return NOT_SUPPORTED;
    int64_t now = now_ns();
    EACH(process, part->processes, PROCESSES) if (process->pid == pid && process->start <= now) {
        int64_t end = now < process->end ? now : process->end;
        *out = (nvmlAccountingStats_t){
            .maxMemoryUsage = (uint64_t)(process->peak == NONE ? process->used : process->peak),
            .time = (uint64_t)(end - process->start) / 1000000,
            .isRunning = (unsigned)alive(process, now),
        };
        return SUCCESS;
    }
    return NOT_FOUND;
}

/* ------------------------------------------------------------------------------------------------- sensors */

static int field_value(part_t *part, nvmlFieldValue_t *out) {
    char name[32];
    int64_t value;
    snprintf(name, sizeof name, "field:%u", out->fieldId);
    TRY(scripted_fault(name, part));
    if (part->parent != NONE || out->scopeId) return NOT_SUPPORTED;
    out->valueType = UNSIGNED_INT;
    switch (out->fieldId) {
        case 82: TRY(read_curve(&part->memory_temperature, &value)); break;
        case 185: TRY(read_average(part, &value)); break;
        case 186: TRY(read_curve(&part->power, &value)); break;
        case 190: if ((value = part->power_limit) == NONE) return NOT_SUPPORTED; break;
        case 83: case 191: out->valueType = UNSIGNED_LONG_LONG; TRY(read_energy(part, &value)); break;
        default: out->valueType = UNSIGNED_LONG_LONG; TRY(read_throttled(part, out->fieldId, &value));
    }
    out->value.ull = (uint64_t)value;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetFieldValues(device_t handle, int count, nvmlFieldValue_t *values) {
    PART();
    int64_t now = scenario->manual ? scenario->now : clock_of(CLOCK_REALTIME);
    EACH(value, values, count) {
        value->timestamp = now / 1000;
        value->latencyUsec = 0;
        value->nvmlReturn = (unsigned)field_value(part, value);
    }
    return SUCCESS;
}

EXPORT int nvmlDeviceGetPowerUsage(device_t handle, unsigned *out) {
    GPU();
    int64_t value;
    TRY(part->power_averaged ? read_average(part, &value) : read_curve(&part->power, &value));
    return put(out, value);
}

EXPORT int nvmlDeviceGetTotalEnergyConsumption(device_t handle, unsigned long long *out) {
    GPU();
    int64_t value;
    TRY(read_energy(part, &value));
    return *out = (uint64_t)value, SUCCESS;
}

EXPORT int nvmlDeviceGetTemperature(device_t handle, unsigned sensor, unsigned *out) {
    GPU();
    return sensor ? INVALID_ARGUMENT : put_curve(out, &part->temperature);
}

EXPORT int nvmlDeviceGetTemperatureV(device_t handle, nvmlTemperature_t *asked) {
    PART();
    if (asked->version != TEMPERATURE_V1) return VERSION_MISMATCH;
    if (part->parent != NONE) return NOT_SUPPORTED;
    return asked->sensorType ? INVALID_ARGUMENT : put_curve((unsigned *)&asked->temperature, &part->temperature);
}

EXPORT int nvmlDeviceGetClockInfo(device_t handle, unsigned kind, unsigned *out) {
    GPU();
    return kind > 2 ? NOT_SUPPORTED : put_curve(out, kind == 2 ? &part->memory_clock : &part->sm_clock);
}

EXPORT int nvmlDeviceGetUtilizationRates(device_t handle, nvmlUtilization_t *out) {
    GPU();
    TRY(put_curve(&out->gpu, &part->utilization));
    return put_curve(&out->memory, &part->memory_utilization);
}

static int put_reasons(part_t *part, unsigned long long *out) { return *out = (uint64_t)event_reasons(part), SUCCESS; }
EXPORT int nvmlDeviceGetCurrentClocksEventReasons(device_t handle, unsigned long long *out) { GPU(); return put_reasons(part, out); }
EXPORT int nvmlDeviceGetCurrentClocksThrottleReasons(device_t handle, unsigned long long *out) { GPU(); return put_reasons(part, out); }

EXPORT int nvmlDeviceGetArchitecture(device_t handle, unsigned *out) { GPU(); return put(out, part->architecture); }
EXPORT int nvmlDeviceGetPowerManagementLimit(device_t handle, unsigned *out) { GPU(); return put(out, part->power_limit); }
EXPORT int nvmlDeviceGetPersistenceMode(device_t handle, unsigned *out) { GPU(); return put(out, part->persistence); }

/* What a test compares with the sizes that pynvml knows. */
EXPORT const unsigned fakenvml_sizes[] = {
    sizeof(nvmlMemory_t), sizeof(nvmlMemory_v2_t), sizeof(nvmlPciInfo_t), sizeof(nvmlProcessInfo_t),
    sizeof(nvmlUtilization_t), sizeof(nvmlFieldValue_t), sizeof(nvmlAccountingStats_t), sizeof(nvmlTemperature_t),
};
