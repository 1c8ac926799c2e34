"""The file that the C library reads: the structures of fakenvml.h, and how a scenario is written into them."""

from __future__ import annotations

import ctypes
from ctypes import Structure, c_char, c_int64
from typing import TYPE_CHECKING, Any

from pytest_llmperf.testing import ScriptedDevice, ScriptedInstance
from pytest_llmperf.testing.functions import FUNCTIONS
from pytest_llmperf.testing.names import ALIASES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.testing import Curve, Delay, Fault, Scenario, ScriptedMemory, ScriptedProcess, Spike, Throttle

NONE = -1
_KINDS = ("compute", "graphics", "mps")
_STEPS = 256


def _numbers(names: str) -> list[tuple[str, Any]]:
    return [(name, c_int64) for name in names.split()]


def _texts(names: str) -> list[tuple[str, Any]]:
    return [(name, c_char * 96) for name in names.split()]


class FileStep(Structure):
    _fields_ = _numbers("t value")


class FileSide(Structure):
    _fields_ = [("count", c_int64), ("steps", FileStep * _STEPS)]


class FileCurve(Structure):
    side: int
    _fields_ = [("side", c_int64), ("sides", FileSide * 2)]

    def write(self, curve: Curve | None) -> None:
        steps = [(0, curve)] if isinstance(curve, int) else list(curve or ())
        fits("the steps of a curve", steps, _STEPS)
        side = self.sides[1 - self.side]
        for index, step in enumerate(steps):
            side.steps[index] = FileStep(*step)
        side.count = len(steps)
        self.side = 1 - self.side


class FileSpike(Structure):
    _fields_ = _numbers("start end size")

    def write(self, spike: Spike) -> None:
        self.end = 0
        self.start, self.size = spike.start_ns, spike.size
        self.end = spike.end_ns


class FileProcess(Structure):
    _fields_ = _numbers("pid used kind start end peak") + _texts("name")

    pid: int

    def write(self, process: ScriptedProcess) -> None:
        if self.pid != process.pid:  # one that only changes stays listed meanwhile
            self.end = 0
        self.pid, self.kind, self.start = process.pid, _KINDS.index(process.kind), process.start_ns
        self.used, self.peak = (NONE if size is None else size for size in (process.used, process.peak))
        self.name = process.name.encode()
        self.end = process.end_ns


class FileThrottle(Structure):
    _fields_ = _numbers("field start end")

    def write(self, throttle: Throttle) -> None:
        self.field = 0
        self.start, self.end = throttle.start_ns, throttle.end_ns
        self.field = throttle.field


class FileFault(Structure):
    _fields_ = _numbers("active code part after at times seen") + _texts("function")

    def write(self, fault: Fault, part: int) -> None:
        self.active = 0
        self.code, self.part, self.after = fault.code, part, fault.after
        self.at, self.times, self.seen = fault.at_ns, fault.times, 0
        self.function = ALIASES.get(fault.function, fault.function).encode()
        self.active = 1


class FileDelay(Structure):
    _fields_ = _numbers("active ns spin") + _texts("function")

    def write(self, delay: Delay) -> None:
        self.active = 0
        self.ns, self.spin = delay.ns, delay.spin
        self.function = ALIASES.get(delay.function, delay.function).encode()
        self.active = 1


class FileFunction(Structure):
    _fields_ = _numbers("calls") + _texts("name")


_PART_NUMBERS = """
total reserved gpu_instance compute_instance
pci_device_id architecture unified mig_mode power_averaged power_limit
energy_tick_ns energy_start_ns energy_base energy_percent
throttle_base event_reasons accounting persistence
"""
_CURVES = "used power temperature memory_temperature sm_clock memory_clock utilization memory_utilization"


class FilePart(Structure):
    """A GPU or an instance. Numbers and curves are called as in the scenario."""

    _fields_ = [
        *_texts("uuid name pci_bus_id"),
        *_numbers("parent index" + _PART_NUMBERS),
        ("throttle_fields", c_int64 * 16),
        *((name, FileCurve) for name in _CURVES.split()),
        ("spikes", FileSpike * 128),
        ("processes", FileProcess * 32),
        ("throttles", FileThrottle * 32),
    ]

    def set(self, name: str, value: Curve | None) -> None:
        """Change one number or curve."""
        if name in _CURVES.split():
            getattr(self, name).write(value)
        elif name in _PART_NUMBERS.split() and (value is None or isinstance(value, int)):
            setattr(self, name, NONE if value is None else value)
        else:
            raise ValueError(f"{name}={value!r} cannot be set")

    def write(self, part: ScriptedMemory, parent: int, index: int) -> None:
        self.uuid, self.name = part.uuid.encode(), part.name.encode()
        self.parent, self.index = parent, index
        self.gpu_instance = self.compute_instance = NONE
        for name, value in vars(part).items():
            if name in _CURVES.split() or name in _PART_NUMBERS.split():
                self.set(name, value)
        if isinstance(part, ScriptedDevice):
            self.pci_bus_id = part.pci_bus_id.encode()
            self.mig_mode = NONE if part.mig is None else bool(part.mig)
            self.throttle_fields[:] = (list(part.throttle_fields) + [0] * 16)[:16]
            write_all(self.throttles, part.throttles)
        write_all(self.spikes, part.spikes)
        write_all(self.processes, part.processes)


class FileScenario(Structure):
    part: ctypes.Array[FilePart]
    _fields_ = [
        *_numbers("size parts devices manual now cuda_version v2_used_includes_reserved"),
        *_texts("driver_version nvml_version"),
        ("faults", FileFault * 32),
        ("delays", FileDelay * 16),
        ("functions", FileFunction * 64),
        ("part", FilePart * 24),
    ]

    def write(self, scenario: Scenario) -> None:
        """Fill an empty file; the size comes last, and makes it valid."""
        self.manual, self.now = int(scenario.now_ns is not None), scenario.now_ns or 0
        self.driver_version, self.nvml_version = scenario.driver_version.encode(), scenario.nvml_version.encode()
        self.cuda_version, self.v2_used_includes_reserved = scenario.cuda_version, scenario.v2_used_includes_reserved
        for function, name in zip(self.functions, sorted(FUNCTIONS.keys() - ALIASES.keys()), strict=False):
            function.name = name.encode()
        self._write_parts(scenario)
        fits("faults", scenario.faults, len(self.faults))
        for slot, fault in zip(self.faults, scenario.faults, strict=False):
            slot.write(fault, self.number_of(fault.device))
        write_all(self.delays, scenario.delays)
        self.size = ctypes.sizeof(self)

    def number_of(self, uuid: str | None) -> int:
        """The place of a device or instance among the parts; NONE for None."""
        uuids = [part.uuid.decode() for part in self.part[: self.parts]]
        return NONE if uuid is None else uuids.index(uuid)

    def _write_parts(self, scenario: Scenario) -> None:
        parts = scenario.parts()
        fits("devices and instances", parts, len(self.part))
        parents = {id(one): number for number, gpu in enumerate(scenario.devices) for one in gpu.mig or ()}
        for number, part in enumerate(parts):
            parent = parents[id(part)] if isinstance(part, ScriptedInstance) else NONE
            siblings = parts if parent == NONE else scenario.devices[parent].mig or ()
            index = next(place for place, sibling in enumerate(siblings) if sibling is part)
            self.part[number].write(part, parent, index)
        self.devices, self.parts = len(scenario.devices), len(parts)


def write_all(slots: Any, values: Sequence[Any]) -> None:
    fits("values", values, len(slots))
    for slot, value in zip(slots, values, strict=False):
        slot.write(value)


def fits(what: str, values: Sequence[Any], room: int) -> None:
    if len(values) > room:
        raise ValueError(f"{len(values)} {what}, and the fake library has room for {room}")
