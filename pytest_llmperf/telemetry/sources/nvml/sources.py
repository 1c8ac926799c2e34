"""What is read of an NVIDIA device again and again: memory as often as can be, sensors and state now and then.

The C functions are called without ``pynvml``'s wrappers, which other packages of an environment replace by their own.
"""

from __future__ import annotations

from ctypes import byref, c_int, c_uint, c_uint64
from dataclasses import dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias

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
    Record,
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
)
from pytest_llmperf.telemetry.sources.nvml.errors import Code, Refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Call: TypeAlias = Callable[..., int]
    """A function of NVML for one device, which is its first argument; returns an error code."""


# What does not fit a record is no value but a driver's way to say that it has none.
_IMPOSSIBLE = 2**63


@dataclass
class Part:
    """A GPU or a MIG instance. ``memory`` says how its level is read, None that it is not."""

    facts: DeviceFacts
    handle: Any
    parent: Part | None = None
    memory: type[MemoryV1 | MemoryV2] | None = None

    @property
    def board(self) -> Part:
        """The GPU, which has the sensors."""
        return self.parent or self


class Driver(Protocol):
    """NVML in this process."""

    def bind(self, name: str) -> Call:
        """The C function itself."""

    def call(self, part: Part, name: str, *arguments: object) -> int:
        """Calls it for a device, after starting NVML anew where it was shut down; returns its error code."""


class MemorySource:
    """The allocated memory of a device, ``total − free − reserved``. One per thread, in the process that made it."""

    def __init__(self, driver: Driver, part: Part, memory: type[MemoryV1 | MemoryV2]) -> None:
        self.driver_ns = 0
        self._driver = driver
        self._part = part
        self._slot = part.facts.slot
        self._name = MEMORY_CALLS[memory]
        self._memory = memory()
        self._out = byref(self._memory)
        self._refusals = Refusals(part.facts)
        self._bind()

    def _bind(self) -> None:
        self._call, self._handle = self._driver.bind(self._name), self._part.handle

    def read(self, t_ns: int) -> Sequence[Record]:
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
            code = self._driver.call(self._part, self._name, self._out)
            self._bind()
        if code:
            raise self._refusals.judge(code, "memory level", self._name)

    def close(self) -> None:
        """Nothing is held open."""


class Quantity(NamedTuple):
    """What one record is of; ``detail`` goes into the record."""

    kind: int
    what: str
    detail: int = 0


class _Answer(NamedTuple):
    of: Quantity
    call: str
    code: int
    value: int


class _Gauge:
    """A reading of several quantities of a GPU; for a MIG instance they are its GPU's, under the slot of the instance.

    What the driver refuses for good is not asked again; ``missing`` has the reason by kind and detail of the record.
    What it refuses once is left out that time. Only when nothing at all was read is that an error.
    """

    def __init__(self, driver: Driver, part: Part) -> None:
        self.missing: dict[tuple[int, int], str] = {}
        self._driver = driver
        self._board = part.board
        self._slot = part.facts.slot
        self._refusals: dict[Quantity, Refusals] = {}

    def _records(self, t_ns: int, answers: Iterable[_Answer]) -> list[Record]:
        records: list[Record] = []
        refused: list[SourceError] = []
        for of, call, code, value in answers:
            if not code and value < _IMPOSSIBLE:
                self._refusals.pop(of, None)
                records.append(Record(t_ns, value, self._slot, of.detail, of.kind))
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
            raise next((e for e in refused if e.why is Why.TRANSIENT), None) or self._nothing()
        return records

    def _nothing(self) -> SourceError:
        first, *others = self.missing.values()
        return SourceError(f"{first} (and {len(others)} more such sensors)" if others else first, Why.ABSENT)

    def _has(self, of: Quantity) -> bool:
        return (of.kind, of.detail) not in self.missing

    def close(self) -> None:
        """Nothing is held open."""


ENERGY_FIELD = {83: Quantity(ENERGY, "energy counter")}
SENSOR_FIELDS = {
    186: Quantity(POWER, "instant power"),
    **ENERGY_FIELD,
    74: Quantity(THROTTLE, "time of the software power cap", 0x4),
    76: Quantity(THROTTLE, "time of the sync boost", 0x10),
    269: Quantity(THROTTLE, "time of the software thermal slowdown", 0x20),
    270: Quantity(THROTTLE, "time of the hardware thermal slowdown", 0x40),
    271: Quantity(THROTTLE, "time of the hardware power brake", 0x80),
    82: Quantity(MEMORY_TEMPERATURE, "memory temperature"),
}


class SensorSource(_Gauge):
    """Power, energy, throttle times and memory temperature, by one call of the driver."""

    _CALL = "nvmlDeviceGetFieldValues"
    fields: ClassVar = SENSOR_FIELDS
    what = "sensors"

    def __init__(self, driver: Driver, part: Part) -> None:
        super().__init__(driver, part)
        self._whole = Refusals(self._board.facts)
        self._ask_for(list(self.fields))

    def _ask_for(self, fields: Sequence[int]) -> None:
        self._asked = fields
        self._values = (FieldValue * len(fields))()
        for value, field in zip(self._values, fields, strict=True):
            value.fieldId = field

    def read(self, t_ns: int) -> Sequence[Record]:
        if self.missing and len(self.missing) + len(self._asked) > len(self.fields):
            self._ask_for([field for field in self._asked if self._has(self.fields[field])])
        if not self._asked:
            raise self._nothing()
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
    """The energy counter alone, to be read every few milliseconds at the edges of a window."""

    fields: ClassVar = ENERGY_FIELD
    what = "energy counter"


class StateSource(_Gauge):
    """Temperature, SM clock, utilization and the reasons for which clocks are held back right now."""

    def __init__(self, driver: Driver, part: Part) -> None:
        super().__init__(driver, part)
        if part.parent is not None:
            self.missing[UTILIZATION, 0] = f"{part.facts.name}: the driver gives no utilization of MIG instances"

    def read(self, t_ns: int) -> Sequence[Record]:
        asked = [of for of in _STATE if self._has(of)]
        return self._records(t_ns, [self._ask(of) for of in asked])

    def _ask(self, of: Quantity) -> _Answer:
        for name, ask in _STATE[of]:
            code, value = ask(self._driver, self._board, name)
            if code != Code.FUNCTION_NOT_FOUND:  # else there is an older or newer function for the same
                break
        return _Answer(of, name, code, value)


def _temperature(driver: Driver, board: Part, name: str) -> tuple[int, int]:
    out = c_uint()
    return driver.call(board, name, c_uint(0), byref(out)), out.value


def _temperature_v(driver: Driver, board: Part, name: str) -> tuple[int, int]:
    out = Temperature()
    return driver.call(board, name, byref(out)), out.temperature


def _sm_clock(driver: Driver, board: Part, name: str) -> tuple[int, int]:
    out = c_uint()
    return driver.call(board, name, c_uint(1), byref(out)), out.value


def _utilization(driver: Driver, board: Part, name: str) -> tuple[int, int]:
    out = Utilization()
    return driver.call(board, name, byref(out)), out.gpu


def _mask(driver: Driver, board: Part, name: str) -> tuple[int, int]:
    out = c_uint64()
    return driver.call(board, name, byref(out)), out.value


_STATE = {
    Quantity(TEMPERATURE, "temperature"): (
        ("nvmlDeviceGetTemperature", _temperature),
        ("nvmlDeviceGetTemperatureV", _temperature_v),
    ),
    Quantity(SM_CLOCK, "SM clock"): (("nvmlDeviceGetClockInfo", _sm_clock),),
    Quantity(UTILIZATION, "utilization"): (("nvmlDeviceGetUtilizationRates", _utilization),),
    Quantity(REASONS, "clock event reasons"): (
        ("nvmlDeviceGetCurrentClocksEventReasons", _mask),
        ("nvmlDeviceGetCurrentClocksThrottleReasons", _mask),
    ),
}
