/* The file that holds a scenario, and the part of NVML's binary interface that is answered from it.
 *
 * layout.py mirrors the first half. Every number is 64 bits wide, so that a change is seen whole or not at all. A slot
 * of a table is filled before the number that makes it valid is written: `end` (after `start`), `field` or `active`. A curve has
 * two sides; the one that is not in use is filled, then `side` is turned.
 */
#include <stdint.h>

#define PARTS 24
#define STEPS 256
#define SPIKES 128
#define PROCESSES 32
#define THROTTLES 32
#define COUNTERS 16
#define FAULTS 32
#define DELAYS 16
#define FUNCTIONS 64
#define NAME 96
#define NONE (-1)
#define FOREVER INT64_MAX

typedef struct { int64_t t, value; } step_t;
typedef struct { int64_t count; step_t steps[STEPS]; } side_t; /* none: there is no such sensor */
typedef struct { int64_t side; side_t sides[2]; } curve_t;
typedef struct { int64_t start, end, size; } spike_t;
typedef struct { int64_t pid, used, kind, start, end, peak; char name[NAME]; } process_t;
typedef struct { int64_t field, start, end; } throttle_t;
typedef struct { int64_t active, code, part, after, at, times, seen; char function[NAME]; } fault_t;
typedef struct { int64_t active, ns, spin; char function[NAME]; } delay_t;
typedef struct { int64_t calls; char name[NAME]; } function_t;

typedef struct {
    char uuid[NAME], name[NAME], pci_bus_id[NAME];
    int64_t parent, index; /* parent: NONE for a GPU, else the number of the part that the instance belongs to */
    int64_t total, reserved, gpu_instance, compute_instance;
    int64_t pci_device_id, architecture, unified, mig_mode, power_averaged, power_limit;
    int64_t energy_tick_ns, energy_start_ns, energy_base, energy_percent;
    int64_t throttle_base, event_reasons, accounting, persistence;
    int64_t throttle_fields[COUNTERS];
    curve_t used, power, temperature, memory_temperature, sm_clock, memory_clock, utilization, memory_utilization;
    spike_t spikes[SPIKES];
    process_t processes[PROCESSES];
    throttle_t throttles[THROTTLES];
} part_t;

typedef struct {
    int64_t size; /* of this structure: a file with another layout is refused */
    int64_t parts, devices, manual, now, cuda_version, v2_used_includes_reserved;
    char driver_version[NAME], nvml_version[NAME];
    fault_t faults[FAULTS];
    delay_t delays[DELAYS];
    function_t functions[FUNCTIONS];
    part_t part[PARTS];
} scenario_t;

/* ------------------------------------------------------------------------------------------------- NVML's own */

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
enum { DRIVER_NOT_LOADED = 9, VERSION_MISMATCH = 25 };
enum { UNSIGNED_INT = 1, UNSIGNED_LONG_LONG = 3 };
enum { COMPUTE, GRAPHICS, MPS };
#define MEMORY_V2 (40u | 2u << 24)
#define TEMPERATURE_V1 (12u | 1u << 24)
#define MOST_INSTANCES 7

typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } nvmlMemory_v2_t;
typedef struct {
    char busIdLegacy[16];
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} nvmlPciInfo_t;
typedef struct { unsigned pid; unsigned long long usedGpuMemory; unsigned gpuInstanceId, computeInstanceId; } nvmlProcessInfo_t;
typedef struct { unsigned gpu, memory; } nvmlUtilization_t;
typedef union { double d; unsigned ui; unsigned long ul; unsigned long long ull; long long sll; int si; unsigned short us; } nvmlValue_t;
typedef struct {
    unsigned fieldId, scopeId;
    long long timestamp, latencyUsec;
    unsigned valueType, nvmlReturn;
    nvmlValue_t value;
} nvmlFieldValue_t;
typedef struct {
    unsigned gpuUtilization, memoryUtilization;
    unsigned long long maxMemoryUsage, time, startTime;
    unsigned isRunning, reserved[5];
} nvmlAccountingStats_t;
typedef struct { unsigned version, sensorType; int temperature; } nvmlTemperature_t;
