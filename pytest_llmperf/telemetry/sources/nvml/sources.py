"""The sources of an NVIDIA device: memory at the full rate, sensors and state a few times a second.

They call the C functions without ``pynvml``'s wrappers, which other installed packages replace by their own.
"""

from __future__ import annotations

from ctypes import byref, c_int, c_uint, c_uint64
from dataclasses import dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias

from pytest_llmperf.telemetry.records.event_reasons import EventReason
from pytest_llmperf.telemetry.records.ring import (
    DEVICE_MEMORY,
    ENERGY,
    MEMORY_TEMPERATURE,
    POWER,
    REASONS,
    SM_CLOCK,
    TEMPERATURE,
    THROTTLE,
    UTILIZATION,
    RingRecord,
    make_record,
)
from pytest_llmperf.telemetry.records.source import DeviceFacts, SourceError, Why
from pytest_llmperf.telemetry.sources.nvml.abi import (
    MEMORY_CALLS,
    FieldValue,
    MemoryV1,
    MemoryV2,
    Temperature,
    Utilization,
    read_event_reasons,
)
from pytest_llmperf.telemetry.sources.nvml.errors import Code, Refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Call: TypeAlias = Callable[..., int]
    """A function of NVML for one device, which is its first argument; returns an error code."""


# A value that does not fit into a record is the driver's way to say that it has none.
_IMPOSSIBLE = 2**63


@dataclass
class NvmlDevice:
    """A GPU or a MIG instance. ``memory`` is the structure by which its level is read; None if it cannot be read."""

    facts: DeviceFacts
    handle: Any
    parent: NvmlDevice | None = None
    memory: type[MemoryV1 | MemoryV2] | None = None

    @property
    def board(self) -> NvmlDevice:
        """The GPU itself, which has the sensors, or the GPU of a MIG instance."""
        return self.parent or self


class NvmlCalls(Protocol):
    """The functions of NVML, in the process that calls them."""

    def bind(self, name: str) -> Call:
        """The C function of this name; where the driver has none, one that returns FUNCTION_NOT_FOUND."""

    def call(self, device: NvmlDevice, name: str, *arguments: object) -> int:
        """Calls a C function for a device and returns its error code; starts NVML again where it was shut down.

        Raises:
            SourceError: NVML does not start again.
        """

    def ask(self, name: str, *arguments: object) -> Any:
        """The answer of a ``pynvml`` function.

        Raises:
            NvmlRefusal: the driver gave an error code instead.
        """


class MemorySource:
    """The allocated memory of a device, ``total − free − reserved``. One per thread, in the process that made it."""

    def __init__(self, driver: NvmlCalls, device: NvmlDevice, memory: type[MemoryV1 | MemoryV2]) -> None:
        self.driver_ns = 0
        self._driver = driver
        self._device = device
        self._slot = device.facts.slot
        self._name = MEMORY_CALLS[memory]
        self._memory = memory()
        self._out = byref(self._memory)
        self._refusals = Refusals(device.facts)
        self._bind()

    def _bind(self) -> None:
        self._call, self._handle = self._driver.bind(self._name), self._device.handle

    def read(self, t_ns: int) -> Sequence[RingRecord]:
        begun = monotonic_ns()
        code = self._call(self._handle, self._out)
        self.driver_ns = monotonic_ns() - begun
        if code:
            self._recover(code)
        memory = self._memory
        level = memory.total - memory.free - memory.reserved
        if not -_IMPOSSIBLE < level < _IMPOSSIBLE:
            raise self._refusals.judge(Code.UNKNOWN, "memory level", self._name)
        self._refusals.in_a_row = 0
        return (make_record((t_ns, level, self._slot, 0, DEVICE_MEMORY, 0)),)

    def _recover(self, code: int) -> None:
        if code == Code.UNINITIALIZED:
            code = self._driver.call(self._device, self._name, self._out)
            self._bind()
        if code:
            raise self._refusals.judge(code, "memory level", self._name)

    def close(self) -> None:
        """Nothing is held open."""


class Sensor(NamedTuple):
    """A quantity of a GPU: the lane (``kind``) and ``detail`` of its records, and its name in messages."""

    kind: int
    what: str
    detail: int = 0


class _Answer(NamedTuple):
    of: Sensor
    call: str
    code: int
    value: int


class _Gauge:
    """A reading of several quantities of a GPU; for a MIG instance they are its GPU's, under the slot of the instance.

    A quantity that the driver refuses for good is not read again; ``missing`` has the reason, by lane and detail of the
    record. One that it refuses once is left out that time. It is an error only if nothing at all was read.
    """

    def __init__(self, driver: NvmlCalls, device: NvmlDevice) -> None:
        self.missing: dict[tuple[int, int], str] = {}
        self._driver = driver
        self._board = device.board
        self._slot = device.facts.slot
        self._refusals: dict[Sensor, Refusals] = {}

    def _records(self, t_ns: int, answers: Iterable[_Answer]) -> list[RingRecord]:
        records: list[RingRecord] = []
        refused: list[SourceError] = []
        for of, call, code, value in answers:
            if not code and value < _IMPOSSIBLE:
                self._refusals.pop(of, None)
                records.append(RingRecord(t_ns, value, self._slot, of.detail, of.kind))
                continue
            error = self._refusals.setdefault(of, Refusals(self._board.facts)).judge(
                code or Code.UNKNOWN, of.what, call
            )
            if error.why in (Why.LOST, Why.UNAVAILABLE):
                raise error
            if error.why is Why.ABSENT:
                self.missing[of.kind, of.detail] = str(error)
            refused.append(error)
        if not records:
            raise next((e for e in refused if e.why is Why.TRANSIENT), None) or self._explain_absence()
        return records

    def _explain_absence(self) -> SourceError:
        first, *others = self.missing.values()
        return SourceError(f"{first} (and {len(others)} more such sensors)" if others else first, Why.ABSENT)

    def _has(self, of: Sensor) -> bool:
        return (of.kind, of.detail) not in self.missing

    def close(self) -> None:
        """Nothing is held open."""


ENERGY_FIELD = {83: Sensor(ENERGY, "energy counter")}
SENSOR_FIELDS = {
    186: Sensor(POWER, "instant power"),
    **ENERGY_FIELD,
    74: Sensor(THROTTLE, "time of the software power cap", EventReason.SOFTWARE_POWER_CAP),
    76: Sensor(THROTTLE, "time of the sync boost", EventReason.SYNC_BOOST),
    269: Sensor(THROTTLE, "time of the software thermal slowdown", EventReason.SOFTWARE_THERMAL),
    270: Sensor(THROTTLE, "time of the hardware thermal slowdown", EventReason.HARDWARE_THERMAL),
    271: Sensor(THROTTLE, "time of the hardware power brake", EventReason.HARDWARE_POWER_BRAKE),
    82: Sensor(MEMORY_TEMPERATURE, "memory temperature"),
}


class SensorSource(_Gauge):
    """Power, energy, throttle times and memory temperature, by one call of the driver."""

    _CALL = "nvmlDeviceGetFieldValues"
    fields: ClassVar = SENSOR_FIELDS
    what = "sensors"

    def __init__(self, driver: NvmlCalls, device: NvmlDevice) -> None:
        super().__init__(driver, device)
        self._whole = Refusals(self._board.facts)
        self._ask_for(list(self.fields))

    def _ask_for(self, fields: Sequence[int]) -> None:
        self._asked = fields
        self._values = (FieldValue * len(fields))()
        for value, field in zip(self._values, fields, strict=True):
            value.fieldId = field

    def read(self, t_ns: int) -> Sequence[RingRecord]:
        if self.missing and len(self.missing) + len(self._asked) > len(self.fields):
            self._ask_for([field for field in self._asked if self._has(self.fields[field])])
        if not self._asked:
            raise self._explain_absence()
        code = self._driver.call(self._board, self._CALL, c_int(len(self._asked)), byref(self._values))
        if code:
            raise self._whole.judge(code, self.what, self._CALL)
        self._whole.in_a_row = 0
        return self._records(t_ns, [self._answer(value) for value in self._values])

    def _answer(self, value: FieldValue) -> _Answer:
        code = value.nvmlReturn
        if code == Code.INVALID_ARGUMENT:  # an older driver does not know the field
            code = Code.NOT_SUPPORTED
        return _Answer(self.fields[value.fieldId], self._CALL, code, 0 if code else value.number())


class EnergySource(SensorSource):
    """The energy counter alone, read every few milliseconds at the edges of a window."""

    fields: ClassVar = ENERGY_FIELD
    what = "energy counter"


class StateSource(_Gauge):
    """Temperature, SM clock, utilization, and the reasons for which clocks are held back at present."""

    def __init__(self, driver: NvmlCalls, device: NvmlDevice) -> None:
        super().__init__(driver, device)
        if device.parent is not None:
            self.missing[UTILIZATION, 0] = f"{device.facts.name}: the driver gives no utilization of MIG instances"

    def read(self, t_ns: int) -> Sequence[RingRecord]:
        asked = [of for of in _STATE if self._has(of)]
        return self._records(t_ns, [self._ask(of) for of in asked])

    def _ask(self, of: Sensor) -> _Answer:
        for name, ask in _STATE[of]:
            code, value = ask(self._driver, self._board, name)
            if code != Code.FUNCTION_NOT_FOUND:  # else there is an older or newer function for the same
                break
        return _Answer(of, name, code, value)


def _temperature(driver: NvmlCalls, board: NvmlDevice, name: str) -> tuple[int, int]:
    out = c_uint()
    return driver.call(board, name, c_uint(0), byref(out)), out.value


def _temperature_v(driver: NvmlCalls, board: NvmlDevice, name: str) -> tuple[int, int]:
    out = Temperature()
    return driver.call(board, name, byref(out)), out.temperature


def _sm_clock(driver: NvmlCalls, board: NvmlDevice, name: str) -> tuple[int, int]:
    out = c_uint()
    return driver.call(board, name, c_uint(1), byref(out)), out.value


def _utilization(driver: NvmlCalls, board: NvmlDevice, name: str) -> tuple[int, int]:
    out = Utilization()
    return driver.call(board, name, byref(out)), out.gpu


def _mask(driver: NvmlCalls, board: NvmlDevice, name: str) -> tuple[int, int]:
    out = c_uint64()
    return driver.call(board, name, byref(out)), read_event_reasons(out.value)


_STATE = {
    Sensor(TEMPERATURE, "temperature"): (
        ("nvmlDeviceGetTemperature", _temperature),
        ("nvmlDeviceGetTemperatureV", _temperature_v),
    ),
    Sensor(SM_CLOCK, "SM clock"): (("nvmlDeviceGetClockInfo", _sm_clock),),
    Sensor(UTILIZATION, "utilization"): (("nvmlDeviceGetUtilizationRates", _utilization),),
    Sensor(REASONS, "clock event reasons"): (
        ("nvmlDeviceGetCurrentClocksEventReasons", _mask),
        ("nvmlDeviceGetCurrentClocksThrottleReasons", _mask),
    ),
}
