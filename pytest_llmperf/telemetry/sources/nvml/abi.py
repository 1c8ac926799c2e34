"""The structures of NVML's C interface that are read. ``pynvml`` has its own, which decode text at every access."""

from __future__ import annotations

from ctypes import Structure, Union, c_double, c_int, c_int64, c_uint32, c_uint64, c_ulong, c_ushort
from typing import ClassVar


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
