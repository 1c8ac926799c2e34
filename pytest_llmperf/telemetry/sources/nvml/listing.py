"""Lists the devices that NVML shows: identity, MIG instances, and how the memory of each is read."""

from __future__ import annotations

from ctypes import byref
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.reading import Missing
from pytest_llmperf.telemetry.records.source import DeviceFacts
from pytest_llmperf.telemetry.sources.nvml.abi import MEMORY_CALLS, MemoryV1, MemoryV2
from pytest_llmperf.telemetry.sources.nvml.errors import (
    Code,
    NvmlRefusal,
    explain_refusal,
    is_integrated,
    name_device,
    used_includes_reserved,
)
from pytest_llmperf.telemetry.sources.nvml.sources import NvmlCalls, NvmlDevice

if TYPE_CHECKING:
    Memory = MemoryV1 | MemoryV2

# Codes that drivers also return by mistake. Their consequence holds for the whole session, so the call is repeated.
_DOUBTED = (Code.NOT_SUPPORTED, Code.TIMEOUT, Code.UNKNOWN)
_TRIES = 3
# Drivers before 510 have no v2, that of WSL may fail for a reason unknown to itself, integrated GPUs have neither.
_WITHOUT_V2 = (Code.FUNCTION_NOT_FOUND, Code.UNKNOWN, Code.NOT_SUPPORTED, Code.ARGUMENT_VERSION_MISMATCH)
_WITHOUT_MIG = (Code.NOT_SUPPORTED, Code.FUNCTION_NOT_FOUND, Code.INVALID_ARGUMENT)


def list_devices(driver: NvmlCalls, count: int) -> tuple[list[NvmlDevice], tuple[str, ...]]:
    """The first ``count`` GPUs and then their MIG instances, as far as they may be used, and why others may not."""
    found = [_gpu(driver, index) for index in range(count)]
    found += [instance for gpu in found if isinstance(gpu, NvmlDevice) for instance in _instances(driver, gpu)]
    devices = [device for device in found if isinstance(device, NvmlDevice)]
    for slot, device in enumerate(devices):
        device.facts = replace(find_memory(driver, device), slot=slot)
    return devices, tuple(one.reason for one in found if isinstance(one, Missing))


def _gpu(driver: NvmlCalls, index: int) -> NvmlDevice | Missing:
    try:
        handle = driver.ask("nvmlDeviceGetHandleByIndex", index)
        uuid, name = driver.ask("nvmlDeviceGetUUID", handle), driver.ask("nvmlDeviceGetName", handle)
        mig = _has_instances(driver, handle)
    except NvmlRefusal as refused:
        return _reason(refused, f"GPU {index}")
    return NvmlDevice(DeviceFacts(0, uuid, name, index, "nvml", "cuda", has_instances=mig), handle)


def _has_instances(driver: NvmlCalls, handle: object) -> bool:
    try:
        return bool(driver.ask("nvmlDeviceGetMigMode", handle)[0] == 1)
    except NvmlRefusal as refused:
        if refused.code in _WITHOUT_MIG:
            return False
        raise


def _instances(driver: NvmlCalls, gpu: NvmlDevice) -> list[NvmlDevice | Missing]:
    if not gpu.facts.has_instances:
        return []
    try:
        room = driver.ask("nvmlDeviceGetMaxMigDeviceCount", gpu.handle)
    except NvmlRefusal as refused:
        return [_reason(refused, f"MIG instances of {name_device(gpu.facts)}")]
    found = [_instance(driver, gpu, index) for index in range(room)]
    return [one for one in found if one is not None]


def _instance(driver: NvmlCalls, gpu: NvmlDevice, index: int) -> NvmlDevice | Missing | None:
    try:
        handle = driver.ask("nvmlDeviceGetMigDeviceHandleByIndex", gpu.handle, index)
        uuid, name = driver.ask("nvmlDeviceGetUUID", handle), driver.ask("nvmlDeviceGetName", handle)
    except NvmlRefusal as refused:
        if refused.code == Code.NOT_FOUND:  # there is room for more instances than there are
            return None
        return _reason(refused, f"MIG instance {index} of {name_device(gpu.facts)}")
    ids = _instance_ids(driver, handle)
    return NvmlDevice(
        DeviceFacts(0, uuid, name, index, "nvml", "cuda", parent=gpu.facts.uuid, instance=ids), handle, gpu
    )


def _reason(refused: NvmlRefusal, who: str) -> Missing:
    return Missing(str(explain_refusal(refused.code, who, "identity", "nvmlDeviceGetHandleByIndex")))


def _instance_ids(driver: NvmlCalls, handle: object) -> str:
    try:
        ids = [driver.ask(f"nvmlDeviceGet{kind}InstanceId", handle) for kind in ("Gpu", "Compute")]
    except NvmlRefusal:  # then it is known by its UUID only
        return ""
    return "/".join(map(str, ids))


def find_memory(driver: NvmlCalls, device: NvmlDevice) -> DeviceFacts:
    """The facts of a device with its total memory, or with why it cannot be read; sets ``device.memory``."""
    facts = device.facts
    newer, older = MemoryV2(), MemoryV1()
    code = v2 = _level(driver, device, newer)
    if v2 == Code.SUCCESS:
        device.memory = MemoryV2
        added = used_includes_reserved(newer.total, newer.reserved, newer.free, newer.used)
        api = "NVML memory v2 (its used includes reserved)" if added else "NVML memory v2"
        return replace(facts, total_bytes=newer.total, memory_api=api)
    if v2 in _WITHOUT_V2:
        code = _level(driver, device, older)
        if code == Code.SUCCESS:
            device.memory = MemoryV1
            return replace(facts, total_bytes=older.total, memory_api="NVML memory v1")
        if code == v2 == Code.NOT_SUPPORTED and is_integrated(facts.name):
            reason = f"{name_device(facts)} has no memory of its own, it computes in the host's"
            return replace(facts, unified=True, no_memory=reason)
    return replace(
        facts, no_memory=str(explain_refusal(code, name_device(facts), "memory level", MEMORY_CALLS[MemoryV1]))
    )


def _level(driver: NvmlCalls, device: NvmlDevice, memory: Memory) -> int:
    for _ in range(_TRIES):
        code = driver.call(device, MEMORY_CALLS[type(memory)], byref(memory))
        if code not in _DOUBTED:
            break
    return code
