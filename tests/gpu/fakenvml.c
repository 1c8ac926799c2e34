/* A library with NVML's name and binary interface that answers from a scenario in a mapped file ($FAKENVML_SCENARIO).
 * The rules are those of pytest_llmperf.testing; tests/gpu/test_fake_library.py asks both the same questions.
 */
#define _GNU_SOURCE
#include "fakenvml.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define SECOND 1000000000LL
#define EACH(item, table, count) for (__typeof__(&(table)[0]) item = (table); item < (table) + (count); item++)

typedef void *device_t; /* the number of a part, from 1 */

static scenario_t *scenario;
static char mapped[4096];
static int64_t users;
static pid_t owner;

/* ------------------------------------------------------------------------------------------------- the file */

static void map_file(int complain) {
    const char *path = getenv("FAKENVML_SCENARIO");
    if (scenario && !(path && strcmp(path, mapped))) return;
    if (scenario) munmap(scenario, sizeof *scenario);
    scenario = NULL;
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    struct stat info;
    if (fd >= 0 && !fstat(fd, &info) && info.st_size == sizeof *scenario) {
        void *memory = mmap(NULL, sizeof *scenario, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory != MAP_FAILED) scenario = memory;
    }
    if (fd >= 0) close(fd);
    if (scenario && scenario->size == sizeof *scenario) {
        snprintf(mapped, sizeof mapped, "%s", path);
        return;
    }
    if (scenario) munmap(scenario, sizeof *scenario);
    scenario = NULL;
    if (complain) fprintf(stderr, "fakenvml: FAKENVML_SCENARIO=%s is no scenario of this version\n", path ? path : "");
}

static int64_t clock_of(clockid_t id) {
    struct timespec now;
    clock_gettime(id, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static int64_t now_ns(void) { return scenario->manual ? scenario->now : clock_of(CLOCK_MONOTONIC); }

/* ------------------------------------------------------------------------------------------------- a call */

static int matches(const char *scripted, const char *function) {
    if (!strcmp(scripted, "*")) return !strncmp(function, "nvml", 4) && strcmp(function, "nvmlErrorString");
    return !strcmp(scripted, function);
}

static int scripted_fault(const char *function, const part_t *part) {
    EACH(fault, scenario->faults, FAULTS) {
        if (!fault->active || !matches(fault->function, function) || now_ns() < fault->at) continue;
        if (fault->part != NONE && !(part && (part == scenario->part + fault->part || part->parent == fault->part))) continue;
        int64_t number = __atomic_add_fetch(&fault->seen, 1, __ATOMIC_RELAXED);
        if (fault->after < number && (!fault->times || number <= fault->after + fault->times)) return (int)fault->code;
    }
    return SUCCESS;
}

static void pause_ns(int64_t ns) {
    struct timespec left = {ns / SECOND, ns % SECOND};
    while (nanosleep(&left, &left)) {}
}

static void scripted_delay(const char *function) {
    EACH(delay, scenario->delays, DELAYS) {
        if (!delay->active || !matches(delay->function, function)) continue;
        int64_t ns = delay->ns, end = clock_of(CLOCK_MONOTONIC) + (ns == FOREVER ? 0 : ns);
        while (ns == FOREVER && delay->active) pause_ns(SECOND / 1000);
        if (delay->spin) while (clock_of(CLOCK_MONOTONIC) < end) {}
        else if (ns != FOREVER) pause_ns(ns);
    }
}

/* Counts the call of a function, and delays it. */
static int begin(const char *function, int initializes) {
    if (owner != getpid()) owner = getpid(), users = 0; /* forked: nothing of the driver's state comes along */
    if (!scenario || !users) map_file(initializes);
    if (!scenario) return initializes ? DRIVER_NOT_LOADED : UNINITIALIZED;
    EACH(counted, scenario->functions, FUNCTIONS) if (!strcmp(counted->name, function)) {
        __atomic_add_fetch(&counted->calls, 1, __ATOMIC_RELAXED);
        break;
    }
    scripted_delay(function);
    return users || initializes ? SUCCESS : UNINITIALIZED;
}

#define TRY(call) do { int code_ = (call); if (code_) return code_; } while (0)
#define SYSTEM() do { TRY(begin(__func__, 0)); TRY(scripted_fault(__func__, NULL)); } while (0)
#define FIND(find) part_t *part; do { TRY(begin(__func__, 0)); TRY(find); TRY(scripted_fault(__func__, part)); } while (0)
#define PART() FIND(by_handle(handle, &part))
#define GPU() PART(); if (part->parent != NONE) return NOT_SUPPORTED

/* ------------------------------------------------------------------------------------------------- what it is about */

static int by_handle(device_t handle, part_t **part) {
    uintptr_t number = (uintptr_t)handle;
    if (!number || number > (uintptr_t)scenario->parts) return INVALID_ARGUMENT;
    *part = scenario->part + number - 1;
    return SUCCESS;
}

static int by_index(unsigned index, part_t **part) {
    if (index >= scenario->devices) return INVALID_ARGUMENT;
    *part = scenario->part + index;
    return SUCCESS;
}

static int by_uuid(const char *uuid, part_t **part) {
    EACH(each, scenario->part, scenario->parts) if (!strcmp(each->uuid, uuid)) return *part = each, SUCCESS;
    return NOT_FOUND;
}

static int by_pci(const char *bus_id, part_t **part) {
    unsigned wanted[3], own[3];
    if (sscanf(bus_id, "%x:%x:%x", wanted, wanted + 1, wanted + 2) < 3) return INVALID_ARGUMENT;
    EACH(each, scenario->part, scenario->devices) {
        sscanf(each->pci_bus_id, "%x:%x:%x", own, own + 1, own + 2);
        if (!memcmp(wanted, own, sizeof own)) return *part = each, SUCCESS;
    }
    return NOT_FOUND;
}

static int instance_of(device_t handle, unsigned index, part_t **part) {
    part_t *gpu;
    TRY(by_handle(handle, &gpu));
    if (gpu->parent != NONE) return NOT_SUPPORTED;
    EACH(each, scenario->part, scenario->parts)
        if (each->parent == gpu - scenario->part && each->index == index) return *part = each, SUCCESS;
    return NOT_FOUND;
}

static int parent_of(device_t handle, part_t **part) {
    TRY(by_handle(handle, part));
    if ((*part)->parent == NONE) return INVALID_ARGUMENT;
    *part = scenario->part + (*part)->parent;
    return SUCCESS;
}

/* ------------------------------------------------------------------------------------------------- readings */

static side_t *side_of(curve_t *curve) { return curve->sides + (curve->side & 1); }

static int64_t value_at(const side_t *side, int64_t now) {
    int64_t value = side->steps[0].value;
    for (int64_t i = 1; i < side->count && side->steps[i].t <= now; i++) value = side->steps[i].value;
    return value;
}

static __int128 integral(const side_t *side, int64_t start, int64_t end) {
    __int128 sum = 0;
    for (int64_t i = 0; i < side->count; i++) {
        int64_t from = i && side->steps[i].t > start ? side->steps[i].t : start;
        int64_t to = i + 1 < side->count && side->steps[i + 1].t < end ? side->steps[i + 1].t : end;
        if (to > from) sum += (__int128)side->steps[i].value * (to - from);
    }
    return sum;
}

static int read_curve(curve_t *curve, int64_t *value) {
    side_t *side = side_of(curve);
    if (!side->count) return NOT_SUPPORTED;
    *value = value_at(side, now_ns());
    return SUCCESS;
}

static int read_average(part_t *part, int64_t *value) {
    side_t *power = side_of(&part->power);
    int64_t now = now_ns();
    if (!power->count || !part->power_averaged) return NOT_SUPPORTED;
    *value = (int64_t)(integral(power, now - SECOND, now) / SECOND);
    return SUCCESS;
}

static int read_energy(part_t *part, int64_t *value) {
    side_t *power = side_of(&part->power);
    int64_t now = now_ns();
    if (!power->count || part->energy_tick_ns == NONE) return NOT_SUPPORTED;
    __int128 picojoules = integral(power, part->energy_start_ns, now - now % part->energy_tick_ns);
    *value = part->energy_base + (int64_t)(picojoules * part->energy_percent / (100 * SECOND));
    return SUCCESS;
}

static int read_throttled(part_t *part, int64_t field, int64_t *value) {
    int known = 0;
    EACH(each, part->throttle_fields, COUNTERS) known |= *each == field;
    if (!known) return NOT_SUPPORTED;
    *value = part->throttle_base;
    int64_t now = now_ns();
    EACH(throttle, part->throttles, THROTTLES) {
        int64_t end = throttle->end < now ? throttle->end : now;
        if (throttle->field == field && end > throttle->start) *value += end - throttle->start;
    }
    return SUCCESS;
}

static int64_t reason_of(int64_t field) {
    switch (field) {
        case 74: return 0x4;
        case 76: return 0x10;
        case 75: case 269: return 0x20;
        case 270: return 0x40;
        case 271: return 0x80;
        case 77: return 0x200;
        case 79: return 0x400;
        default: return 0;
    }
}

static int64_t event_reasons(part_t *part) {
    int64_t mask = part->event_reasons, now = now_ns();
    EACH(throttle, part->throttles, THROTTLES)
        if (throttle->field && throttle->start <= now && now < throttle->end) mask |= reason_of(throttle->field);
    return mask;
}

static int64_t allocated(part_t *part) {
    int64_t now = now_ns(), most = part->total - part->reserved, used = value_at(side_of(&part->used), now);
    EACH(spike, part->spikes, SPIKES) if (spike->start <= now && now < spike->end) used += spike->size;
    return used > most ? (most > 0 ? most : 0) : used;
}

static int alive(const process_t *process, int64_t now) {
    return process->start <= now && now < process->end;
}

static int fill(char *buffer, unsigned size, const char *text) {
    if (strlen(text) >= size) return INSUFFICIENT_SIZE;
    strcpy(buffer, text);
    return SUCCESS;
}

static int put(unsigned *out, int64_t value) { return *out = (unsigned)value, value == NONE ? NOT_SUPPORTED : SUCCESS; }

static int put_curve(unsigned *out, curve_t *curve) {
    int64_t value;
    TRY(read_curve(curve, &value));
    return put(out, value);
}

#include "functions.h"
