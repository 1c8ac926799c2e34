"""Reads the sampler's rings for one device: its current level and processes, and its traces over a window."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.device_trace import DeviceProcess, DeviceTrace
from pytest_llmperf.measurement.engine_info import Device
from pytest_llmperf.measurement.units import BYTES, format_value
from pytest_llmperf.telemetry.analysis.attribution import (
    Baseline,
    Listing,
    Ownership,
    build_device_trace,
    read_listings,
    select_surrounding,
)
from pytest_llmperf.telemetry.analysis.cadence import find_collection_interval_ns, why_too_seldom
from pytest_llmperf.telemetry.analysis.conditions import read_conditions
from pytest_llmperf.telemetry.analysis.energy import measure_energy
from pytest_llmperf.telemetry.analysis.timeline import Sampling
from pytest_llmperf.telemetry.records.ring import (
    DEVICE_MEMORY,
    ENERGY,
    EXPORTERS,
    FAULT,
    KNOWN,
    LISTED,
    MEMORY_TEMPERATURE,
    POWER,
    PROCESS,
    REASONS,
    SM_CLOCK,
    TEMPERATURE,
    THROTTLE,
    UTILIZATION,
    Ring,
    RingRecord,
)
from pytest_llmperf.telemetry.records.source import DeviceFacts, Why
from pytest_llmperf.telemetry.sampler.client import SamplerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_llmperf.measurement.memory_trace import MemoryTrace
    from pytest_llmperf.measurement.window import Window
    from pytest_llmperf.telemetry.sampler.client import Sampler

CALM_S = 1.0
DCGM_HZ = 5.0
PAGE_PATIENCE_S = 0.5
_REACH_NS = 3_000_000_000
# Quantities whose absence does not prevent the device from being measured.
_GAUGED = (POWER, ENERGY, THROTTLE, REASONS, TEMPERATURE, MEMORY_TEMPERATURE, SM_CLOCK, UTILIZATION)


@dataclass(frozen=True)
class EngineBaselines:
    """The keys of an engine's processes, and the devices of this host before it started.

    ``baselines`` are by slot; empty for an engine that this run did not start.
    """

    keys: tuple[int, ...]
    baselines: Mapping[int, Baseline] = field(default_factory=dict)


@dataclass(frozen=True)
class Exporters:
    """A set of DCGM exporters that is read: URLs, number of the set, devices, and ``started_ns`` of its sampler."""

    urls: str
    number: int
    facts: tuple[DeviceFacts, ...]
    sampler: int


class DeviceTraces:
    """Reads the rings of a sampler.

    Attributes:
        names: known names of processes, by pid.
        faults: failed readings, by their number.
        known_pids: processes that were on a device when the session began, by slot.
        idle_watts: power of a device while nothing ran, by slot.
    """

    def __init__(self, sampler: Sampler) -> None:
        self.names: dict[int, str] = {}
        self.faults: list[dict[str, Any]] = []
        self.known_pids: dict[int, frozenset[int]] = {}
        self.idle_watts: dict[int, float] = {}
        self._sampler = sampler

    # ------------------------------------------------------------------------------------------------------------ now

    def level(self, facts: DeviceFacts) -> int | None:
        """The latest level in bytes; None if none was read in the last 3 s."""
        levels = self._levels(facts, _REACH_NS)
        return levels[-1] if levels else None

    def measure_movement(self, facts: DeviceFacts) -> int:
        """By how many bytes the level changed in the last second."""
        levels = self._levels(facts, round(CALM_S * 1e9))
        return max(levels) - min(levels) if levels else 0

    def watts(self, facts: DeviceFacts) -> float | None:
        """The mean power of the last second in W; None if it was not read."""
        now = time.monotonic_ns()
        records = self._sampler.driver.read(now - round(CALM_S * 1e9), now)
        watts = [r.value / 1e3 for r in records if r.key == facts.slot and r.lane == POWER]
        return fmean(watts) if watts else None

    def listing(self, facts: DeviceFacts, keys: Sequence[int] = (), since_ns: int = 0) -> Listing | None:
        """The latest list of processes from the last 3 s, not older than ``since_ns``; None if there is none."""
        now = time.monotonic_ns()
        records = self._sampler.driver.read(max(since_ns, now - _REACH_NS), now)
        found = read_listings(records, facts.slot, keys)
        return found[-1] if found else None

    def holders(self, facts: DeviceFacts) -> str:
        """The processes on a device and what each holds, in words, by its latest list."""
        now = time.monotonic_ns()
        records = [r for r in self._sampler.driver.read(now - _REACH_NS, now) if r.key == facts.slot]
        last = max((r.t_ns for r in records if r.lane == LISTED), default=0)
        held = [
            f"{DeviceProcess(r.detail, self.names.get(r.detail, ''))} "
            f"{format_value(r.value, BYTES) if r.flags & KNOWN else 'of unknown size'}"
            for r in records
            if r.lane == PROCESS and r.t_ns == last
        ]
        return ", ".join(held) or "no process that the driver lists"

    def _levels(self, facts: DeviceFacts, reach_ns: int) -> list[int]:
        now = time.monotonic_ns()
        records = self._sampler.memory.read(now - reach_ns, now)
        return [r.value for r in records if r.key == facts.slot and r.lane == DEVICE_MEMORY]

    # ------------------------------------------------------------------------------------------------- over a window

    def local(self, window: Window, facts: DeviceFacts, engines: Sequence[EngineBaselines]) -> DeviceTrace:
        """The trace of a device of this host over a window that has ended."""
        slow = _read_around(self._sampler.driver, window, facts.slot)
        self._learn_faults()
        refused = [
            f for f in self.faults if f["slot"] == facts.slot and f["lane"] in _GAUGED and f["why"] == Why.ABSENT
        ]
        no_counter = next((f["text"] for f in refused if f["lane"] == ENERGY), "")
        state = read_conditions(slow, window, known_pids=self.known_pids.get(facts.slot, frozenset()), names=self.names)
        return DeviceTrace(
            to_device(facts),
            self.memory(window, facts, engines),
            measure_energy(
                slow, window, idle_watts=self.idle_watts.get(facts.slot), shared=_explain_sharing(facts) or no_counter
            ),
            replace(state, unknown=tuple(f["text"] for f in refused)),
            facts.total_bytes,
        )

    def memory(
        self, window: Window, facts: DeviceFacts, engines: Sequence[EngineBaselines], *, settling: bool = False
    ) -> MemoryTrace:
        """The memory of the engines on a device of this host over a window. For ``settling`` see build_device_trace."""
        keys = [key for engine in engines for key in engine.keys]
        slow = _read_around(self._sampler.driver, window, facts.slot)
        fast = _read_around(self._sampler.memory, window, facts.slot)
        told = self._list_faults([*fast, *slow], window)
        lost, given_up = self._find_endings(facts, [*fast, *slow], window)
        ring = self._sampler.memory
        fault = lost or self._death(ring, window)
        trace = build_device_trace(
            fast,
            window,
            facts,
            Ownership(
                select_surrounding(read_listings(slow, facts.slot, keys), window), _earliest(engines, facts.slot)
            ),
            Sampling(ring.period_ns, ring.oldest_ns, fault, "" if lost else self._sampler.why_hanging() or given_up),
            settling=settling,
        )
        return trace if fault else _explain(trace, [f for f in told if f["lane"] == DEVICE_MEMORY])

    def remote(self, window: Window, facts: DeviceFacts, exporters: Exporters) -> DeviceTrace:
        """The trace of a device behind an exporter over a window that has ended; waits up to 0.5 s for a reading."""
        ring = self._sampler.exporters
        self._wait_for_page(window, facts.slot)
        records = _read_around(ring, window, facts.slot)
        told = self._list_faults(_read_around(ring, window, exporters.number), window)
        refused = why_too_seldom(_interval_ns(ring, window, exporters), window.seconds, exporters.urls)
        if refused and told:
            refused = str(told[-1]["text"])
        fault = self._death(ring, window)
        memory = build_device_trace(
            records,
            window,
            facts,
            Ownership(),
            Sampling(round(1e9 / DCGM_HZ), ring.oldest_ns, fault, refused or facts.no_memory),
        )
        consumed = measure_energy(records, window, idle_watts=None, shared=refused or _explain_sharing(facts))
        bound = 100 / DCGM_HZ / window.seconds
        return DeviceTrace(
            to_device(facts),
            memory if fault else _explain(memory, told),
            replace(consumed, how=f"{consumed.how}, ±{bound:.2g} % by the exporter" if consumed.how else ""),
            read_conditions(records, window, known_pids=(), names={}),
            facts.total_bytes,
        )

    def _wait_for_page(self, window: Window, slot: int) -> None:
        """Waits up to 0.5 s for a reading from after the window, which shows what was collected during the window."""
        deadline = time.monotonic() + PAGE_PATIENCE_S
        while time.monotonic() < deadline and self._sampler.alive:
            if any(record.key == slot for record in self._sampler.exporters.read(window.end_ns, time.monotonic_ns())):
                return
            time.sleep(0.01)

    # ----------------------------------------------------------------------------------------------------- what failed

    def _death(self, ring: Ring, window: Window) -> str:
        """Why the sampler ended before the window did, or ""."""
        return self._sampler.why_ended() if ring.published_ns < window.end_ns else ""

    def _list_faults(self, records: Sequence[RingRecord], window: Window) -> list[dict[str, Any]]:
        """The faults among records, up to the end of the window."""
        numbers = sorted(_faults(records, 0, window.end_ns))
        if numbers and numbers[-1] >= len(self.faults):
            self._learn_faults()
        return [self.faults[n] for n in numbers if n < len(self.faults)]

    def _learn_faults(self) -> None:
        with contextlib.suppress(SamplerError):  # it has ended, which is a fault of its own
            self.faults = self._sampler.ask("faults")["faults"]

    def _find_endings(self, facts: DeviceFacts, records: Sequence[RingRecord], window: Window) -> tuple[str, str]:
        """Why a device was lost, and why its level is no longer read, if that was before the end of the window.

        Each is recorded once only: a window long after it has no record of it, but no level either.
        """
        before = _faults(records, 0, window.end_ns)
        after = _faults(records, window.end_ns + 1, window.end_ns + _REACH_NS)
        is_read = any(r.lane == DEVICE_MEMORY and r.t_ns >= window.end_ns for r in records)
        numbers = [n for n in range(len(self.faults)) if n in before or not (n in after or is_read)]
        ended = [f for f in map(self.faults.__getitem__, numbers) if f["slot"] == facts.slot]
        lost = next((f["text"] for f in ended if f["lane"] != EXPORTERS and f["why"] == Why.LOST), "")
        given_up = (f for f in ended if f["lane"] == DEVICE_MEMORY and f["why"] not in (Why.TRANSIENT, Why.LOST))
        return lost, next((f["text"] for f in given_up), "")


def to_device(facts: DeviceFacts) -> Device:
    """The device as results name it."""
    return Device(facts.kind, facts.name, facts.uuid)


def _read_around(ring: Ring, window: Window, key: int) -> list[RingRecord]:
    found = ring.read(window.start_ns - _REACH_NS, window.end_ns + _REACH_NS)
    return [record for record in found if record.key == key]


def _interval_ns(ring: Ring, window: Window, exporters: Exporters) -> int | None:
    slots = {facts.slot for facts in exporters.facts}
    return find_collection_interval_ns(r for r in ring.read(0, window.end_ns) if r.key in slots)


def _faults(records: Iterable[RingRecord], start_ns: int, end_ns: int) -> set[int]:
    return {r.value for r in records if r.lane == FAULT and start_ns <= r.t_ns <= end_ns}


def _explain(trace: MemoryTrace, told: Sequence[Mapping[str, Any]]) -> MemoryTrace:
    """The trace with the latest reason for failed readings added to its fault."""
    return replace(trace, fault=f"{trace.fault}: {told[-1]['text']}") if trace.fault and told else trace


def _explain_sharing(facts: DeviceFacts) -> str:
    return "energy is measured for the whole GPU, of which the engine has a MIG instance" if facts.parent else ""


def _earliest(engines: Sequence[EngineBaselines], slot: int) -> Baseline | None:
    """The baseline of the engine that started first; None if one of the engines has none."""
    found = [engine.baselines.get(slot) for engine in engines]
    known = [one for one in found if one is not None]
    return min(known, key=lambda one: one.level) if known and len(known) == len(found) else None
