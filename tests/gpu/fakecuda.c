/* A library with the name and binary interface of CUDA's driver, as far as scripts/gpu_check calls it: what is allocated
 * shows in the scenario of the fake NVML library, on the device that CUDA_VISIBLE_DEVICES names, and under the pid of
 * the process. Addresses need all of their 64 bits. What takes a while on a device takes one here.
 */
#define _GNU_SOURCE
#include "fakenvml.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define CONTEXT (300LL << 20)
#define FIRST_ADDRESS 0x7f4200000000ULL
#define ROOM 64

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_CONTEXT = 201 };

static part_t *device;
static process_t *process;
static int initialized, retained, current;
static size_t sizes[ROOM];

static void take(int64_t size) {
    curve_t *used = &device->used;
    __atomic_add_fetch(&used->sides[used->side & 1].steps[0].value, size, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&process->used, size, __ATOMIC_SEQ_CST);
}

static void __attribute__((destructor)) leave(void) {
    if (!retained) return;
    take(-process->used);
    process->end = 0;
}

static int after(long microseconds) {
    nanosleep(&(struct timespec){0, microseconds * 1000}, NULL);
    return OK;
}

static size_t *slot_of(unsigned long long address) {
    unsigned long long number = (address - FIRST_ADDRESS) >> 33;
    return address >= FIRST_ADDRESS && number < ROOM && sizes[number] ? sizes + number : NULL;
}

EXPORT int cuInit(unsigned flags) {
    const char *path = getenv("FAKENVML_SCENARIO"), *uuid = getenv("CUDA_VISIBLE_DEVICES");
    int fd = path && !flags ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return NO_DEVICE;
    scenario_t *scenario = mmap(NULL, sizeof *scenario, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (scenario == MAP_FAILED) return NO_DEVICE;
    for (part_t *part = scenario->part; part < scenario->part + scenario->devices; part++)
        if (uuid && !strcmp(part->uuid, uuid)) device = part;
    initialized = device != NULL;
    return device ? OK : NO_DEVICE;
}

EXPORT int cuGetErrorName(int code, const char **name) {
    *name = code == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : code == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : NULL;
    return *name ? OK : INVALID_VALUE;
}

EXPORT int cuDeviceGet(int *found, int ordinal) {
    if (!initialized) return NOT_INITIALIZED;
    if (ordinal) return NO_DEVICE;
    *found = 7;
    return OK;
}

EXPORT int cuDeviceGetUuid(unsigned char *uuid, int ordinal) {
    if (ordinal != 7) return INVALID_VALUE;
    for (const char *text = device->uuid + 4; *text; text++) {
        if (*text == '-') continue;
        char byte[3] = {text[0], text[1], 0};
        *uuid++ = (unsigned char)strtol(byte, NULL, 16);
        text++;
    }
    return OK;
}

EXPORT int cuDevicePrimaryCtxRetain(void **context, int ordinal) {
    if (ordinal != 7) return INVALID_VALUE;
    for (process = device->processes; process->end; process++) {}
    process->pid = getpid();
    process->used = process->start = 0;
    process->kind = COMPUTE;
    process->peak = NONE;
    strcpy(process->name, "worker");
    process->end = FOREVER;
    retained = 1;
    take(CONTEXT);
    *context = &retained;
    return OK;
}

EXPORT int cuCtxSetCurrent(void *context) {
    current = context == &retained;
    return current ? OK : INVALID_CONTEXT;
}

EXPORT int cuCtxSynchronize(void) { return current ? after(50) : INVALID_CONTEXT; }

EXPORT int cuMemAlloc_v2(unsigned long long *address, size_t size) {
    if (!current || !size) return current ? INVALID_VALUE : INVALID_CONTEXT;
    curve_t *used = &device->used;
    if (used->sides[used->side & 1].steps[0].value + (int64_t)size > device->total) return OUT_OF_MEMORY;
    for (int i = 0; i < ROOM; i++) {
        if (sizes[i]) continue;
        sizes[i] = size;
        take((int64_t)size);
        *address = FIRST_ADDRESS + ((unsigned long long)i << 33);
        return after(100);
    }
    return OUT_OF_MEMORY;
}

EXPORT int cuMemFree_v2(unsigned long long address) {
    size_t *size = slot_of(address);
    if (!size) return INVALID_VALUE;
    take(-(int64_t)*size);
    *size = 0;
    return OK;
}

EXPORT int cuMemsetD8_v2(unsigned long long address, unsigned char value, size_t size) {
    size_t *held = slot_of(address);
    return held && size <= *held && !value ? OK : INVALID_VALUE;
}

EXPORT int cuMemcpyDtoD_v2(unsigned long long target, unsigned long long source, size_t size) {
    size_t *to = slot_of(target), *from = slot_of(source);
    if (!to || !from || to == from || size > *to || size > *from) return INVALID_VALUE;
    return after(500);
}
