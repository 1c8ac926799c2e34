"""The structures of NVML's C interface that are read. ``pynvml`` has its own, which decode text at every access."""

from __future__ import annotations

from ctypes import Structure, Union, c_double, c_int, c_int64, c_uint32, c_uint64, c_ulong, c_ushort
from pathlib import Path
from typing import ClassVar

from pytest_llmperf.telemetry.records.event_reasons import EventReason


class MemoryV1(Structure):
    """``nvmlMemory_t``; its ``used`` includes the memory that the driver reserves."""

    _fields_: ClassVar = [("total", c_uint64), ("free", c_uint64), ("used", c_uint64)]
    reserved = 0


class MemoryV2(Structure):
    """``nvmlMemory_v2_t``; a new one bears the version that the driver asks for."""

    _fields_: ClassVar = [
        ("version", c_uint32),
        ("total", c_uint64),
        ("reserved", c_uint64),
        ("free", c_uint64),
        ("used", c_uint64),
    ]

    def __init__(self) -> None:
        super().__init__(version=40 | 2 << 24)


DEVICE_NODE = Path("/dev/nvidiactl")
"""The file by which programs reach the NVIDIA driver: without it the host, or this container, has none."""

_EVENT_REASONS = {
    0x4: EventReason.SOFTWARE_POWER_CAP,
    0x8: EventReason.HARDWARE_SLOWDOWN,
    0x10: EventReason.SYNC_BOOST,
    0x20: EventReason.SOFTWARE_THERMAL,
    0x40: EventReason.HARDWARE_THERMAL,
    0x80: EventReason.HARDWARE_POWER_BRAKE,
}


def read_event_reasons(mask: int) -> EventReason:
    """The reasons in a mask of NVML's ``nvmlClocksEventReason`` bits; an idle device and set clocks are none."""
    reasons = EventReason(0)
    for bit, reason in _EVENT_REASONS.items():
        if mask & bit:
            reasons |= reason
    return reasons


MEMORY_CALLS = {MemoryV1: "nvmlDeviceGetMemoryInfo", MemoryV2: "nvmlDeviceGetMemoryInfo_v2"}


class Value(Union):
    """``nvmlValue_t``."""

    _fields_: ClassVar = [
        ("dVal", c_double),
        ("uiVal", c_uint32),
        ("ulVal", c_ulong),
        ("ullVal", c_uint64),
        ("sllVal", c_int64),
        ("siVal", c_int),
        ("usVal", c_ushort),
    ]
    of_type = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")


class FieldValue(Structure):
    """``nvmlFieldValue_t``."""

    _fields_: ClassVar = [
        ("fieldId", c_uint32),
        ("scopeId", c_uint32),
        ("timestamp", c_int64),
        ("latencyUsec", c_int64),
        ("valueType", c_uint32),
        ("nvmlReturn", c_uint32),
        ("value", Value),
    ]

    def number(self) -> int:
        """The value, whatever its type."""
        known = self.valueType < len(Value.of_type)
        return int(getattr(self.value, Value.of_type[self.valueType] if known else "ullVal"))


class Utilization(Structure):
    """``nvmlUtilization_t``, in percent."""

    _fields_: ClassVar = [("gpu", c_uint32), ("memory", c_uint32)]


class Temperature(Structure):
    """``nvmlTemperature_t``; a new one bears the version that the driver asks for."""

    _fields_: ClassVar = [("version", c_uint32), ("sensorType", c_uint32), ("temperature", c_int)]

    def __init__(self) -> None:
        super().__init__(version=12 | 1 << 24)


class ProcessInfo(Structure):
    """``nvmlProcessInfo_t``, the second and third version of it."""

    _fields_: ClassVar = [
        ("pid", c_uint32),
        ("usedGpuMemory", c_uint64),
        ("gpuInstanceId", c_uint32),
        ("computeInstanceId", c_uint32),
    ]
