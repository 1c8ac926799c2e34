"""The devices of a session, seen through its sampler. pytest itself never calls a driver."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement import Device, DeviceProcess, DeviceTrace, MemoryTrace, Window
from pytest_llmperf.telemetry.attribution import Baseline, Listing, device_trace, listings, surrounding
from pytest_llmperf.telemetry.cadence import collection_interval_ns, refusal
from pytest_llmperf.telemetry.conditions import conditions
from pytest_llmperf.telemetry.energy import energy
from pytest_llmperf.telemetry.ring import DEVICE_MEMORY, FAULT, POWER, PROCESS, Record, Ring
from pytest_llmperf.telemetry.sampler import CALM_NS, SamplerError
from pytest_llmperf.telemetry.source import DeviceFacts, Why
from pytest_llmperf.telemetry.visible import ambiguous_integers, visible
from pytest_llmperf.units import BYTES, format_value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pytest_llmperf.telemetry.sampler import Sampler

# Opening the driver takes seconds where nobody keeps it loaded.
OPEN_TIMEOUT_S = 60.0
EDGE_TIMEOUT_S = 2.0
CALM_S = 1.0
TOLERANCE_BYTES = 2 << 20
# A context of CUDA alone takes more than 200 MiB: what rose by less is not where the engine computes.
SMALLEST_CONTEXT_BYTES = 100 << 20
DCGM_HZ = 5.0
_REACH_NS = 3_000_000_000
_NVIDIA = Path("/dev/nvidiactl")


@dataclass(frozen=True)
class Footing:
    """What is known of an engine on the devices of this host: its root processes, and the devices before it came.

    ``baselines`` by slot; empty for an engine that was there before us.
    """

    roots: tuple[int, ...]
    baselines: Mapping[int, Baseline] = field(default_factory=dict)


@dataclass(frozen=True)
class Quiet:
    """The devices before the first engine: who is on them that is not of this run, and which did not settle."""

    strangers: tuple[tuple[DeviceFacts, DeviceProcess], ...] = ()
    restless: tuple[str, ...] = ()


class Devices:
    """Everything that is asked about devices. ``missing`` is why there are none, in one sentence.

    ``present`` is False on a host without an NVIDIA driver: there everything computes on the CPU.
    """

    def __init__(self, sampler: Sampler, dcgm: Sequence[str] = ()) -> None:
        self._sampler = sampler
        self._dcgm = tuple(dcgm)
        self._local: tuple[DeviceFacts, ...] = ()
        self._remote: tuple[DeviceFacts, ...] = ()
        self._names: dict[int, str] = {}
        self._faults: list[dict[str, Any]] = []
        self._known_pids: dict[int, frozenset[int]] = {}
        self._idle_watts: dict[int, float] = {}
        self._opened: int | None = None
        self.missing = ""
        self.present = False

    # ------------------------------------------------------------------------------------------------ what there is

    def open(self) -> None:
        """Lists the devices, once for each sampler process. What fails is noted in ``missing``."""
        token = self._sampler.started_ns
        if self._opened == token:
            return
        self._opened = token
        try:
            found = self._sampler.ask("devices", OPEN_TIMEOUT_S)["devices"]
        except SamplerError as error:
            self.missing = str(error)
            self.present = _NVIDIA.exists()
            self._local = ()
        else:
            self._local = tuple(DeviceFacts(**facts) for facts in found)
            self.present = bool(self._local)
            self.missing = "" if self._local else "the NVIDIA driver lists no device"

    def open_remote(self) -> None:
        """Lists the devices of the DCGM exporters, and has them read from now on.

        Raises:
            SamplerError: an exporter does not answer, or is none.
        """
        if self._dcgm and not self._remote:
            answer = self._sampler.ask("page", OPEN_TIMEOUT_S, dcgm=list(self._dcgm), hz=DCGM_HZ)
            self._remote = tuple(DeviceFacts(**facts) for facts in answer["devices"])

    def visible(self, value: str | None, order: str | None) -> tuple[tuple[DeviceFacts, ...], str]:
        """The devices of a process with this CUDA_VISIBLE_DEVICES, and what is doubtful about them, if anything."""
        return tuple(visible(self._local, value)), ambiguous_integers(self._local, value, order)

    @property
    def remote(self) -> tuple[DeviceFacts, ...]:
        return self._remote

    def sample(self, facts: Iterable[DeviceFacts]) -> None:
        """Samples exactly these from now on, and reads everything of them once.

        Raises:
            SamplerError: the driver does not answer.
        """
        self._sampler.ask("sample", OPEN_TIMEOUT_S, slots=[f.slot for f in facts if f in self._local])

    # ------------------------------------------------------------------------------------- before an engine starts

    def settle(
        self,
        facts: Sequence[DeviceFacts],
        *,
        patience_s: float,
        timeout_s: float = 30.0,
        expected: Collection[int] = (),
    ) -> Quiet:
        """Waits until the devices are quiet: levels that stand still, and nobody computing who is not of this run.

        For strangers it waits ``patience_s``, since memory is given back a while after its process has ended; for
        levels that move ``timeout_s``. Pids that are ``expected`` may be there. The idle power is learned meanwhile.

        Raises:
            SamplerError: the driver does not answer.
        """
        begun = time.monotonic()
        while True:
            time.sleep(CALM_S)
            self.edge()
            present = [(f, process) for f in facts for process in self._strangers(f)]
            strangers = [(f, process) for f, process in present if process.pid not in expected]
            restless = [text for f in facts if (text := self._restless(f))]
            waited = time.monotonic() - begun
            if (not strangers or waited >= patience_s) and (not restless or waited >= timeout_s):
                break
        for f in facts:
            self._known_pids[f.slot] = frozenset(p.pid for g, p in present if g == f)
            self._learn_idle_power(f)
        return Quiet(tuple(strangers), tuple(restless))

    def baselines(self, facts: Sequence[DeviceFacts]) -> dict[int, Baseline]:
        """The devices as they are now.

        Raises:
            SamplerError: the driver does not answer.
        """
        self.edge()
        found = {}
        for f in facts:
            last, level = self._last_listing(f, ()), self._level(f)
            if last is not None:
                found[f.slot] = Baseline(last.level, last.others)
            elif level is not None:
                found[f.slot] = Baseline(level)
        return found

    def _level(self, facts: DeviceFacts) -> int | None:
        now = time.monotonic_ns()
        records = self._sampler.memory.read(now - _REACH_NS, now)
        return next((r.value for r in reversed(records) if r.key == facts.slot and r.lane == DEVICE_MEMORY), None)

    def _strangers(self, facts: DeviceFacts) -> list[DeviceProcess]:
        last = self._last_listing(facts, ())
        return [DeviceProcess(pid, self._names.get(pid, "")) for pid in sorted(last.others)] if last else []

    def _restless(self, facts: DeviceFacts) -> str:
        now = time.monotonic_ns()
        records = self._sampler.memory.read(now - round(CALM_S * 1e9), now)
        levels = [r.value for r in records if r.key == facts.slot and r.lane != FAULT]
        moved = max(levels) - min(levels) if levels else 0
        return f"{facts.name} by {format_value(moved, BYTES)}" if moved > TOLERANCE_BYTES else ""

    def _learn_idle_power(self, facts: DeviceFacts) -> None:
        now = time.monotonic_ns()
        records = self._sampler.driver.read(now - round(CALM_S * 1e9), now)
        watts = [r.value / 1e3 for r in records if r.key == facts.slot and r.lane == POWER]
        if watts:
            self._idle_watts[facts.slot] = fmean(watts)

    def _last_listing(self, facts: DeviceFacts, roots: Sequence[int]) -> Listing | None:
        now = time.monotonic_ns()
        found = listings(self._sampler.driver.read(now - _REACH_NS, now), facts.slot, roots)
        return found[-1] if found else None

    # ---------------------------------------------------------------------------------------- where an engine is

    def of_engine(self, footing: Footing, candidates: Sequence[DeviceFacts]) -> tuple[DeviceFacts, ...] | None:
        """Those of the candidates that the engine computes on; ``()`` when it surely computes on none, None unknown.

        Raises:
            SamplerError: the driver does not answer.
        """
        self.edge()
        last = {f.slot: self._last_listing(f, footing.roots) for f in candidates}
        on = tuple(f for f in candidates if (one := last[f.slot]) and one.held is not None)
        if on:
            return on
        lists = [one for one in last.values() if one is not None]
        pids = frozenset[int]().union(*(one.others for one in lists))
        if lists and pids and pids == frozenset[int]().union(*(one.strangers for one in lists)):
            return ()  # the driver lists pids as they are seen from here, and the engine's are not among them
        if not footing.baselines:
            return None
        rises = [
            one.level - footing.baselines[slot].level for slot, one in last.items() if one and slot in footing.baselines
        ]
        return () if rises and max(rises) < SMALLEST_CONTEXT_BYTES else None

    # ------------------------------------------------------------------------------------------------------ a test

    def edge(self, *, align: bool = False) -> str:
        """Reads everything now. Why that cannot be done, in one sentence, or empty; it never takes long."""
        try:
            answer = self._sampler.ask("edge", EDGE_TIMEOUT_S, align=align)
        except SamplerError as error:
            return str(error)
        self._names.update({int(pid): name for pid, name in answer["names"].items()})
        self._faults = answer["faults"]
        return ""

    def traces(
        self, window: Window, facts: Sequence[DeviceFacts], footings: Sequence[Footing]
    ) -> tuple[DeviceTrace, ...]:
        """What each device did over a window that has ended."""
        return tuple(
            self._remote_trace(window, f) if f in self._remote else self._local_trace(window, f, footings)
            for f in facts
        )

    def _local_trace(self, window: Window, facts: DeviceFacts, footings: Sequence[Footing]) -> DeviceTrace:
        slow = self._around(self._sampler.driver, window, facts)
        return DeviceTrace(
            as_device(facts),
            self._memory_trace(window, facts, footings),
            energy(slow, window, idle_watts=self._idle_watts.get(facts.slot), shared=_shared(facts)),
            conditions(slow, window, known_pids=self._known_pids.get(facts.slot, frozenset()), names=self._names),
        )

    def _memory_trace(self, window: Window, facts: DeviceFacts, footings: Sequence[Footing]) -> MemoryTrace:
        roots = [root for footing in footings for root in footing.roots]
        slow = self._around(self._sampler.driver, window, facts)
        fast = self._around(self._sampler.memory, window, facts)
        fault, missing = self._broken([*fast, *slow], window)
        return device_trace(
            fast,
            surrounding(listings(slow, facts.slot, roots), window),
            window,
            facts,
            _earliest(footings, facts.slot),
            period_ns=self._sampler.memory.period_ns,
            oldest_ns=self._sampler.memory.oldest_ns,
            fault=fault or self._sampler.death(),
            missing=missing,
        )

    def _broken(self, records: Sequence[Record], window: Window) -> tuple[str, str]:
        """Why what was read cannot be trusted, and why there is nothing to read: a lost device, a driver that hangs."""
        numbers = {r.value for r in records if r.lane == FAULT and r.t_ns <= window.end_ns}
        told = [self._faults[n] for n in sorted(numbers) if n < len(self._faults)]
        lost = next((f["text"] for f in told if f["why"] == Why.LOST), "")
        return lost, "" if lost else self._sampler.hang()

    def _remote_trace(self, window: Window, facts: DeviceFacts) -> DeviceTrace:
        records = self._around(self._sampler.pages, window, facts)
        interval = collection_interval_ns(self._sampler.pages.read(0, window.end_ns))
        missing = refusal(interval, window.seconds, ", ".join(self._dcgm)) or facts.no_memory
        memory = device_trace(records, [], window, facts, None, period_ns=round(1e9 / DCGM_HZ), missing=missing)
        return DeviceTrace(
            as_device(facts),
            memory,
            energy(records, window, idle_watts=None, shared=missing or _shared(facts)),
            conditions(records, window, known_pids=(), names={}),
        )

    @staticmethod
    def _around(ring: Ring, window: Window, facts: DeviceFacts) -> list[Record]:
        found = ring.read(window.start_ns - _REACH_NS, window.end_ns + _REACH_NS)
        return [record for record in found if record.key == facts.slot]

    def settled(self, facts: DeviceFacts, footings: Sequence[Footing], timeout_s: float) -> tuple[int | None, str]:
        """The engine's level once it has stood still for 0.3 s; else None, and why, with who holds the memory."""
        begun = time.monotonic_ns()
        while True:
            time.sleep(0.02)
            now = time.monotonic_ns()
            if now - begun < CALM_NS:
                continue
            trace = self._memory_trace(Window(now - CALM_NS, now), facts, footings)
            values = [value for _, value in trace.samples]
            if broken := trace.fault or trace.missing or ("" if values else "the sampler gave no sample"):
                return None, broken
            moved = max(values) - min(values)
            if moved <= TOLERANCE_BYTES:
                return values[-1], ""
            if (now - begun) / 1e9 >= timeout_s:
                self.edge()
                moving = (
                    f"the memory still moved by {format_value(moved, BYTES)} in 0.3 s, {timeout_s:g} s after the test"
                )
                return None, f"{moving}; on the device: {self._holders(facts) or 'no process that the driver lists'}"

    def _holders(self, facts: DeviceFacts) -> str:
        now = time.monotonic_ns()
        listed = [
            r for r in self._sampler.driver.read(now - _REACH_NS, now) if r.key == facts.slot and r.lane == PROCESS
        ]
        last = [r for r in listed if r.t_ns == listed[-1].t_ns]
        processes = [DeviceProcess(r.detail, self._names.get(r.detail, ""), r.value) for r in last]
        return ", ".join(f"{p} {format_value(p.used_bytes or 0, BYTES)}" for p in processes)


def as_device(facts: DeviceFacts) -> Device:
    return Device("cuda", facts.name, facts.uuid)


def _shared(facts: DeviceFacts) -> str:
    return "energy is measured for the whole GPU, of which the engine has a MIG instance" if facts.parent else ""


def _earliest(footings: Sequence[Footing], slot: int) -> Baseline | None:
    """Of several engines the level before the first; None as soon as one has none."""
    found = [footing.baselines.get(slot) for footing in footings]
    known = [one for one in found if one is not None]
    return min(known, key=lambda one: one.level) if known and len(known) == len(found) else None
