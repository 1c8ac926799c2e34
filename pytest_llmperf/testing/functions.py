"""The functions of NVML, answered from a scenario: how each finds its device, and what it answers."""

from __future__ import annotations

import ctypes
import time
from typing import TYPE_CHECKING, Any

from pytest_llmperf.testing import readings
from pytest_llmperf.testing.lookup import (
    ERRORS,
    INSUFFICIENT_SIZE,
    INVALID_ARGUMENT,
    NOT_FOUND,
    NOT_SUPPORTED,
    SUCCESS,
    VERSION_MISMATCH,
    ScriptedHandle,
    ScriptedRefusal,
    dereference,
    fill,
    find_by_handle,
    find_by_index,
    find_by_pci,
    find_by_uuid,
    find_instance,
    find_nothing,
    find_parent,
    parse_pci_id,
    put,
    read_items,
    read_number,
    require_gpu,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from pytest_llmperf.testing.lookup import ScriptedLibrary
    from pytest_llmperf.testing.scenario import ScriptedDevice, ScriptedMemory, ScriptedProcess

    Find: TypeAlias = Callable[..., "ScriptedHandle | None"]
    Answer: TypeAlias = Callable[..., object]

_NOT_AVAILABLE = 2**64 - 1
_NO_INSTANCE = 2**32 - 1
_MOST_INSTANCES = 7
_MEMORY_V2 = 40 | 2 << 24
_TEMPERATURE_V1 = 12 | 1 << 24


def _init(nvml: ScriptedLibrary, _target: None, *_: Any) -> None:
    nvml.users += 1


def _shutdown(nvml: ScriptedLibrary, _target: None) -> None:
    nvml.users -= 1


def _error_string(nvml: ScriptedLibrary, _target: None, code: Any) -> bytes:
    return ERRORS.get(read_number(code), "Unknown Error").encode()


def _process_name(nvml: ScriptedLibrary, _target: None, pid: Any, buffer: Any, size: Any) -> None:
    processes = (process for part in nvml.scenario.parts() for process in part.processes)
    for process in processes:
        if process.pid == read_number(pid) and readings.is_alive(process, nvml.now_ns):
            return fill(buffer, size, process.name)
    raise ScriptedRefusal(NOT_FOUND)


def _handle(nvml: ScriptedLibrary, target: ScriptedHandle, *arguments: Any) -> None:
    ctypes.cast(arguments[-1], ctypes.POINTER(ctypes.c_void_p))[0] = target.handle


def _pci_info(nvml: ScriptedLibrary, target: ScriptedHandle, _handle: Any, out: Any) -> None:
    info, device = dereference(out), target.device
    info.domain, info.bus, info.device = parse_pci_id(device.pci_bus_id)
    info.busId = device.pci_bus_id.encode()
    info.busIdLegacy = device.pci_bus_id[-12:].encode()
    info.pciDeviceId, info.pciSubSystemId = device.pci_device_id, 0


def _memory_v1(nvml: ScriptedLibrary, target: ScriptedHandle, _handle: Any, out: Any) -> None:
    memory, part = dereference(out), _with_memory(target)
    memory.total = part.total
    memory.used = readings.sum_allocated(part, nvml.now_ns) + part.reserved
    memory.free = memory.total - memory.used


def _memory_v2(nvml: ScriptedLibrary, target: ScriptedHandle, _handle: Any, out: Any) -> None:
    memory, part = dereference(out), target.part
    if memory.version != _MEMORY_V2:
        raise ScriptedRefusal(VERSION_MISMATCH)
    _with_memory(target)
    allocated = readings.sum_allocated(part, nvml.now_ns)
    memory.total, memory.reserved = part.total, part.reserved
    memory.free = part.total - part.reserved - allocated
    memory.used = allocated + (part.reserved if nvml.scenario.v2_used_includes_reserved else 0)


def _with_memory(target: ScriptedHandle) -> ScriptedMemory:
    if target.device.unified:
        raise ScriptedRefusal(NOT_SUPPORTED)
    return target.part


def _processes(kind: str) -> Answer:
    def answer(nvml: ScriptedLibrary, target: ScriptedHandle, _handle: Any, count: Any, infos: Any) -> int:
        parts: list[ScriptedMemory] = [target.part]
        if target.instance is None:
            parts += target.device.mig or ()
        listed = [
            (process, part)
            for part in parts
            for process in part.processes
            if process.kind == kind and readings.is_alive(process, nvml.now_ns)
        ]
        room = read_number(dereference(count))
        dereference(count).value = len(listed)
        if room < len(listed):
            return INSUFFICIENT_SIZE
        for info, (process, part) in zip(read_items(infos, len(listed)) if listed else (), listed, strict=True):
            _describe(info, process, part)
        return SUCCESS

    return answer


def _describe(info: Any, process: ScriptedProcess, part: ScriptedMemory) -> None:
    info.pid = process.pid
    info.usedGpuMemory = _NOT_AVAILABLE if process.used is None else process.used
    info.gpuInstanceId = getattr(part, "gpu_instance", _NO_INSTANCE)
    info.computeInstanceId = getattr(part, "compute_instance", _NO_INSTANCE)


def _accounting_mode(nvml: ScriptedLibrary, target: ScriptedHandle, _handle: Any, out: Any) -> None:
    put(out, int(require_gpu(target).accounting))


def _accounting_stats(nvml: ScriptedLibrary, target: ScriptedHandle, _handle: Any, pid: Any, out: Any) -> None:
    if not require_gpu(target).accounting:
        raise ScriptedRefusal(NOT_SUPPORTED)
    now_ns, stats = nvml.now_ns, dereference(out)
    for process in target.part.processes:
        if process.pid == read_number(pid) and process.start_ns <= now_ns:
            peak = process.used if process.peak is None else process.peak
            stats.maxMemoryUsage = _NOT_AVAILABLE if peak is None else peak
            stats.isRunning = int(readings.is_alive(process, now_ns))
            stats.time = (min(now_ns, process.end_ns) - process.start_ns) // 10**6
            return
    raise ScriptedRefusal(NOT_FOUND)


def _field_values(nvml: ScriptedLibrary, target: ScriptedHandle, _handle: Any, count: Any, values: Any) -> None:
    now_ns = nvml.now_ns
    stamp = (time.time_ns() if nvml.scenario.now_ns is None else now_ns) // 1000
    for value in read_items(values, read_number(count)):
        value.timestamp, value.latencyUsec = stamp, 0
        try:
            nvml.fail_as_scripted(f"field:{value.fieldId}", target)
            known = None if value.scopeId else readings.field_value(require_gpu(target), value.fieldId, now_ns)
            if known is None:
                raise ScriptedRefusal(NOT_SUPPORTED)
        except ScriptedRefusal as refused:
            value.nvmlReturn = refused.code
            continue
        value.nvmlReturn, value.valueType = SUCCESS, known[0]
        value.value.ullVal = known[1]


def _temperature(nvml: ScriptedLibrary, target: ScriptedHandle, _handle: Any, sensor: Any, out: Any) -> None:
    device = require_gpu(target)
    if read_number(sensor) != 0:
        raise ScriptedRefusal(INVALID_ARGUMENT)
    put(out, readings.value_at(device.temperature, nvml.now_ns))


def _temperature_v(nvml: ScriptedLibrary, target: ScriptedHandle, _handle: Any, out: Any) -> None:
    asked = dereference(out)
    if asked.version != _TEMPERATURE_V1:
        raise ScriptedRefusal(VERSION_MISMATCH)
    reading = ctypes.c_uint()
    _temperature(nvml, target, None, asked.sensorType, ctypes.byref(reading))
    asked.temperature = reading.value


def _clock(nvml: ScriptedLibrary, target: ScriptedHandle, _handle: Any, kind: Any, out: Any) -> None:
    device = require_gpu(target)
    curves = {0: device.sm_clock, 1: device.sm_clock, 2: device.memory_clock}
    if read_number(kind) not in curves:
        raise ScriptedRefusal(NOT_SUPPORTED)
    put(out, readings.value_at(curves[read_number(kind)], nvml.now_ns))


def _utilization(nvml: ScriptedLibrary, target: ScriptedHandle, _handle: Any, out: Any) -> None:
    device, now_ns = require_gpu(target), nvml.now_ns
    gpu, memory = (readings.value_at(curve, now_ns) for curve in (device.utilization, device.memory_utilization))
    if gpu is None or memory is None:
        raise ScriptedRefusal(NOT_SUPPORTED)
    dereference(out).gpu, dereference(out).memory = gpu, memory


def _mig_mode(nvml: ScriptedLibrary, target: ScriptedHandle, _handle: Any, current: Any, pending: Any) -> None:
    instances = require_gpu(target).mig
    for out in (current, pending):
        put(out, None if instances is None else int(bool(instances)))


def _max_instances(nvml: ScriptedLibrary, target: ScriptedHandle, _handle: Any, out: Any) -> None:
    instances = require_gpu(target).mig
    put(out, max(_MOST_INSTANCES, len(instances)) if instances else 0)


def _is_instance(nvml: ScriptedLibrary, target: ScriptedHandle, _handle: Any, out: Any) -> None:
    put(out, int(target.instance is not None))


def _instance_id(kind: str) -> Answer:
    def answer(nvml: ScriptedLibrary, target: ScriptedHandle, _handle: Any, out: Any) -> None:
        put(out, getattr(target.instance, kind, None))

    return answer


def _index(nvml: ScriptedLibrary, target: ScriptedHandle, _handle: Any, out: Any) -> None:
    put(out, target.index)


def _count(nvml: ScriptedLibrary, _target: None, out: Any) -> None:
    put(out, len(nvml.scenario.devices))


def _cuda_version(nvml: ScriptedLibrary, _target: None, out: Any) -> None:
    put(out, nvml.scenario.cuda_version)


def _system_text(read: Callable[[ScriptedLibrary], str]) -> Answer:
    return lambda nvml, _target, buffer, size: fill(buffer, size, read(nvml))


def _part_text(read: Callable[[ScriptedMemory], str]) -> Answer:
    return lambda _nvml, target, _handle, buffer, size: fill(buffer, size, read(target.part))


def _sensor(read: Callable[[ScriptedDevice, int], int | None]) -> Answer:
    return lambda nvml, target, _handle, out: put(out, read(require_gpu(target), nvml.now_ns))


FUNCTIONS: dict[str, tuple[Find, Answer]] = {
    "nvmlInit_v2": (find_nothing, _init),
    "nvmlInitWithFlags": (find_nothing, _init),
    "nvmlShutdown": (find_nothing, _shutdown),
    "nvmlErrorString": (find_nothing, _error_string),
    "nvmlSystemGetDriverVersion": (find_nothing, _system_text(lambda nvml: nvml.scenario.driver_version)),
    "nvmlSystemGetNVMLVersion": (find_nothing, _system_text(lambda nvml: nvml.scenario.nvml_version)),
    "nvmlSystemGetCudaDriverVersion": (find_nothing, _cuda_version),
    "nvmlSystemGetCudaDriverVersion_v2": (find_nothing, _cuda_version),
    "nvmlSystemGetProcessName": (find_nothing, _process_name),
    "nvmlDeviceGetCount_v2": (find_nothing, _count),
    "nvmlDeviceGetHandleByIndex_v2": (find_by_index, _handle),
    "nvmlDeviceGetHandleByUUID": (find_by_uuid, _handle),
    "nvmlDeviceGetHandleByPciBusId_v2": (find_by_pci, _handle),
    "nvmlDeviceGetMigDeviceHandleByIndex": (find_instance, _handle),
    "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": (find_parent, _handle),
    "nvmlDeviceGetIndex": (find_by_handle, _index),
    "nvmlDeviceGetUUID": (find_by_handle, _part_text(lambda part: part.uuid)),
    "nvmlDeviceGetName": (find_by_handle, _part_text(lambda part: part.name)),
    "nvmlDeviceGetPciInfo_v3": (find_by_handle, _pci_info),
    "nvmlDeviceGetMemoryInfo": (find_by_handle, _memory_v1),
    "nvmlDeviceGetMemoryInfo_v2": (find_by_handle, _memory_v2),
    "nvmlDeviceGetComputeRunningProcesses_v3": (find_by_handle, _processes("compute")),
    "nvmlDeviceGetGraphicsRunningProcesses_v3": (find_by_handle, _processes("graphics")),
    "nvmlDeviceGetMPSComputeRunningProcesses_v3": (find_by_handle, _processes("mps")),
    "nvmlDeviceGetAccountingMode": (find_by_handle, _accounting_mode),
    "nvmlDeviceGetAccountingStats": (find_by_handle, _accounting_stats),
    "nvmlDeviceGetFieldValues": (find_by_handle, _field_values),
    "nvmlDeviceGetTemperature": (find_by_handle, _temperature),
    "nvmlDeviceGetTemperatureV": (find_by_handle, _temperature_v),
    "nvmlDeviceGetClockInfo": (find_by_handle, _clock),
    "nvmlDeviceGetUtilizationRates": (find_by_handle, _utilization),
    "nvmlDeviceGetMigMode": (find_by_handle, _mig_mode),
    "nvmlDeviceGetMaxMigDeviceCount": (find_by_handle, _max_instances),
    "nvmlDeviceIsMigDeviceHandle": (find_by_handle, _is_instance),
    "nvmlDeviceGetGpuInstanceId": (find_by_handle, _instance_id("gpu_instance")),
    "nvmlDeviceGetComputeInstanceId": (find_by_handle, _instance_id("compute_instance")),
    "nvmlDeviceGetPowerUsage": (find_by_handle, _sensor(readings.power_usage)),
    "nvmlDeviceGetTotalEnergyConsumption": (find_by_handle, _sensor(readings.energy)),
    "nvmlDeviceGetCurrentClocksEventReasons": (find_by_handle, _sensor(readings.event_reasons)),
    "nvmlDeviceGetCurrentClocksThrottleReasons": (find_by_handle, _sensor(readings.event_reasons)),
    "nvmlDeviceGetArchitecture": (find_by_handle, _sensor(lambda device, _: device.architecture)),
    "nvmlDeviceGetPowerManagementLimit": (find_by_handle, _sensor(lambda device, _: device.power_limit)),
    "nvmlDeviceGetPersistenceMode": (find_by_handle, _sensor(lambda device, _: int(device.persistence))),
}
