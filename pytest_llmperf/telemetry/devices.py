"""The devices of a session, read through its sampler: pytest itself never calls a driver."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.device_trace import DeviceProcess, DeviceTrace
from pytest_llmperf.measurement.units import BYTES, format_value
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.telemetry.analysis.attribution import Baseline
from pytest_llmperf.telemetry.device_traces import CALM_S, DCGM_HZ, DeviceTraces, EngineBaselines, Exporters
from pytest_llmperf.telemetry.records.source import DeviceFacts
from pytest_llmperf.telemetry.sampler.client import CALM_NS, Sampler, SamplerError
from pytest_llmperf.telemetry.sources.drivers import has_driver
from pytest_llmperf.telemetry.visible_devices import filter_visible, why_ambiguous

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

# Opening the driver takes seconds if no other process keeps it loaded.
OPEN_TIMEOUT_S = 60.0
EDGE_TIMEOUT_S = 2.0
FIRST_LEVEL_S = 0.5
TOLERANCE_BYTES = 2 << 20
# A device without memory of its own has the host's level, which never stands still: it is waited for less long, and may
# move by a share of itself, or of what is judged.
UNIFIED_TIMEOUT_S = 5.0
UNIFIED_SHARE = 0.01
UNIFIED_SHARE_OF_LIMIT = 0.05
# A CUDA context alone takes more than 200 MiB: an engine does not compute on a device whose level rose by less.
SMALLEST_CONTEXT_BYTES = 100 << 20


@dataclass(frozen=True)
class Disturbances:
    """What disturbs the devices before the first engine: foreign processes, and devices whose level changes."""

    strangers: tuple[tuple[DeviceFacts, DeviceProcess], ...] = ()
    restless: tuple[str, ...] = ()


class Devices:
    """The devices of this host and those behind DCGM exporters.

    Attributes:
        missing: why this host has no device that can be read, in one sentence, or "".
        remote_missing: the same for the devices behind exporters.
        present: whether the host has an NVIDIA driver; without one every engine computes on the CPU.
    """

    def __init__(self, sampler: Sampler, dcgm: Sequence[str] = ()) -> None:
        self._sampler = sampler
        self._dcgm = tuple(dcgm)
        self._local: tuple[DeviceFacts, ...] = ()
        self._exporters: Exporters | None = None
        self._traces = DeviceTraces(sampler)
        self._opened: int | None = None
        self.missing = ""
        self.remote_missing = ""
        self.present = False

    # ------------------------------------------------------------------------------------------------ what there is

    def open(self) -> None:
        """Lists the devices, once for each sampler process. A failure is noted in ``missing``."""
        token = self._sampler.started_ns
        if self._opened == token:
            return
        self._opened = token
        self._traces.faults = []
        try:
            found = self._sampler.ask("devices", OPEN_TIMEOUT_S)["devices"]
        except SamplerError as error:
            self.missing = str(error)
            self.present = has_driver()
            self._local = ()
        else:
            self._local = tuple(DeviceFacts(**facts) for facts in found)
            self.present = bool(self._local)
            self.missing = "" if self._local else "the NVIDIA driver lists no device"

    def open_remote(self) -> None:
        """Lists the devices of the DCGM exporters and starts reading them, once for each sampler process.

        A failure is noted in ``remote_missing``, and tried again when the next engine starts.
        """
        token = self._sampler.started_ns
        if not self._dcgm or (self._exporters is not None and self._exporters.sampler == token):
            return
        self._exporters, self.remote_missing = None, ""
        try:
            answer = self._sampler.ask("exporters", OPEN_TIMEOUT_S, urls=list(self._dcgm), hz=DCGM_HZ)
        except SamplerError as error:
            self.remote_missing = str(error)
            return
        facts = tuple(DeviceFacts(**each) for each in answer["devices"])
        self._exporters = Exporters(", ".join(self._dcgm), answer["exporters"], facts, token)

    def filter_visible(self, value: str | None, order: str | None) -> tuple[tuple[DeviceFacts, ...], str]:
        """The devices of a process with this CUDA_VISIBLE_DEVICES, and why they may be others, or ""."""
        return tuple(filter_visible(self._local, value)), why_ambiguous(self._local, value, order)

    @property
    def was_remote_opened(self) -> bool:
        """Whether :meth:`open_remote` has looked for devices."""
        return self._exporters is not None or bool(self.remote_missing)

    @property
    def remote(self) -> tuple[DeviceFacts, ...]:
        """The devices behind the DCGM exporters; empty until :meth:`open_remote` has found some."""
        return self._exporters.facts if self._exporters is not None else ()

    def sample(self, facts: Iterable[DeviceFacts]) -> None:
        """Samples exactly these devices from now on, and reads everything of them once.

        Raises:
            SamplerError: the driver does not answer.
        """
        self.open()
        self._sampler.ask("sample", OPEN_TIMEOUT_S, slots=[f.slot for f in facts if f in self._local])

    # ------------------------------------------------------------------------------------- before an engine starts

    def settle(
        self,
        facts: Sequence[DeviceFacts],
        *,
        patience_s: float,
        timeout_s: float = 30.0,
        expected: Collection[int] = (),
    ) -> Disturbances:
        """Waits until no level changes and no foreign process computes; also learns the idle power.

        It waits up to ``patience_s`` seconds for foreign processes to leave, since memory is freed a while after its
        process has ended, and up to ``timeout_s`` for levels. Pids in ``expected`` are no foreign processes. The level
        of a device with unified memory is the host's: it is waited for less long, and is no disturbance.

        Raises:
            SamplerError: the driver does not answer.
        """
        begun = time.monotonic()
        while True:
            time.sleep(CALM_S)
            self._read_now()
            present = [(f, process) for f in facts for process in self._strangers(f)]
            strangers = [(f, process) for f, process in present if process.pid not in expected]
            waited = time.monotonic() - begun
            restless = self._list_restless(facts, waited)
            if (not strangers or waited >= patience_s) and (not restless or waited >= timeout_s):
                break
        for f in facts:
            self._traces.known_pids[f.slot] = frozenset(p.pid for g, p in present if g == f)
            watts = self._traces.watts(f)
            if watts is not None:
                self._traces.idle_watts[f.slot] = watts
        return Disturbances(tuple(strangers), tuple(text for f, text in restless.items() if not f.unified))

    def rest(self, facts: Sequence[DeviceFacts], timeout_s: float = 30.0) -> tuple[str, ...]:
        """Waits until levels no longer change: an engine that has ended frees its memory a while later.

        Returns a text for each device that still changes after ``timeout_s`` seconds, with the processes on it; none
        for a device with unified memory, whose level others change as well.

        Raises:
            SamplerError: the driver does not answer.
        """
        begun = time.monotonic()
        while True:
            time.sleep(CALM_S)
            # In a list of a second ago, a process that was ending looks like an engine at work.
            self._read_now()
            waited = time.monotonic() - begun
            restless = self._list_restless(facts, waited)
            if not restless or waited >= timeout_s:
                return tuple(
                    f"{text}, on it {self._traces.holders(f)}" for f, text in restless.items() if not f.unified
                )

    def baselines(self, facts: Sequence[DeviceFacts]) -> dict[int, Baseline]:
        """The present level and processes of each device, by slot.

        Raises:
            SamplerError: the driver does not answer.
        """
        begun = time.monotonic_ns()
        self._read_now()
        found = {}
        for f in facts:
            last = self._traces.listing(f, since_ns=begun)
            if last is not None:
                found[f.slot] = Baseline(last.level, last.everybody)
                self._traces.known_pids.setdefault(f.slot, last.others)
            elif (level := self._first_level(f)) is not None:
                found[f.slot] = Baseline(level, None)
        return found

    def _first_level(self, facts: DeviceFacts) -> int | None:
        """The present level; waits up to 0.5 s for a device whose sampling has just begun."""
        deadline = time.monotonic() + FIRST_LEVEL_S
        while (level := self._traces.level(facts)) is None and time.monotonic() < deadline:
            time.sleep(0.005)
        return level

    def list_strangers(self, facts: Sequence[DeviceFacts]) -> tuple[str, ...]:
        """The processes that the last list of these devices has and that are not this run's, each in words."""
        return tuple(dict.fromkeys(str(process) for f in facts for process in self._strangers(f)))

    def _strangers(self, facts: DeviceFacts) -> list[DeviceProcess]:
        last = self._traces.listing(facts)
        return [DeviceProcess(pid, self._traces.names.get(pid, "")) for pid in sorted(last.others)] if last else []

    def _list_restless(self, facts: Iterable[DeviceFacts], waited_s: float) -> dict[DeviceFacts, str]:
        """The devices whose level still changes, with by how much; of those with unified memory only the first 5 s."""
        awaited = [f for f in facts if not f.unified or waited_s < UNIFIED_TIMEOUT_S]
        return {f: text for f in awaited if (text := self._explain_unrest(f))}

    def _explain_unrest(self, facts: DeviceFacts) -> str:
        last, moved = self._traces.listing(facts), self._traces.measure_movement(facts)
        tolerance = max(TOLERANCE_BYTES, UNIFIED_SHARE * (self._traces.level(facts) or 0) if facts.unified else 0)
        if moved <= tolerance or (last is not None and last.neighbours):
            return ""  # another engine of this run may be at work there
        return f"{facts.name} by {format_value(moved, BYTES)}"

    # ---------------------------------------------------------------------------------------- where an engine is

    def find_engine_devices(
        self, engine: EngineBaselines, candidates: Sequence[DeviceFacts]
    ) -> tuple[DeviceFacts, ...] | None:
        """The candidates that the engine computes on; ``()`` if it certainly computes on none, None if unknown.

        Raises:
            SamplerError: the driver does not answer.
        """
        self._read_now()
        last = {f.slot: one for f in candidates if (one := self._traces.listing(f, engine.keys)) is not None}
        for slot, one in last.items():
            self._traces.known_pids.setdefault(slot, one.others)  # an engine that ran before was never looked for
        on = tuple(f for f in candidates if f.slot in last and last[f.slot].present)
        if on:
            return on
        pids = frozenset[int]().union(*(one.others for one in last.values()))
        if pids and pids == frozenset[int]().union(*(one.strangers for one in last.values())):
            return ()  # the driver lists pids of this namespace, and the engine's are not among them
        rises = [
            level - engine.baselines[f.slot].level
            for f in candidates
            if f.slot in engine.baselines and not f.unified and (level := self._traces.level(f)) is not None
        ]
        return () if rises and max(rises) < SMALLEST_CONTEXT_BYTES else None

    # ------------------------------------------------------------------------------------------------------ a test

    def edge(self, *, align: bool = False) -> str:
        """Reads everything now, at an edge of a test; returns why that failed, or "". It takes 2 s at most.

        With ``align`` it also waits for the energy counters to tick.
        """
        hang = self._sampler.why_hanging()
        if hang:
            return hang
        try:
            answer = self._sampler.ask("edge", EDGE_TIMEOUT_S, align=align)
        except SamplerError as error:
            return str(error)
        self._traces.names.update({int(pid): name for pid, name in answer["names"].items()})
        self._traces.faults = answer["faults"]
        return ""

    def _read_now(self) -> None:
        if problem := self.edge():
            raise SamplerError(problem)

    def traces(
        self, window: Window, facts: Sequence[DeviceFacts], engines: Sequence[EngineBaselines]
    ) -> tuple[DeviceTrace, ...]:
        """The trace of each device over a window that has ended; ``engines`` run on all of them."""
        return tuple(
            self._traces.remote(window, f, self._exporters)
            if self._exporters is not None and f in self._exporters.facts
            else self._traces.local(window, f, engines)
            for f in facts
        )

    def wait_until_settled(
        self, facts: DeviceFacts, engines: Sequence[EngineBaselines], timeout_s: float, limit_bytes: float = 0.0
    ) -> tuple[int | None, str]:
        """Waits until the engine's level is steady for 0.3 s; returns it in bytes, or None and the reason.

        On a device with unified memory the level may move by a twentieth of ``limit_bytes``, with which it is going to
        be compared, and its largest value counts.
        """
        if facts in self.remote:
            return None, "a DCGM exporter collects too seldom to show when the memory has settled"
        begun = time.monotonic_ns()
        calm_ns = max(CALM_NS, 2 * self._sampler.memory.period_ns)
        tolerance = max(TOLERANCE_BYTES, UNIFIED_SHARE_OF_LIMIT * limit_bytes if facts.unified else 0)
        while True:
            time.sleep(0.02)
            now = time.monotonic_ns()
            if now - begun < calm_ns:
                continue
            trace = self._traces.memory(Window(now - calm_ns, now), facts, engines, settling=True)
            values = [value for _, value in trace.samples]
            broken = trace.fault or trace.missing or ("" if values else "the sampler gave no sample")
            moved = max(values, default=0) - min(values, default=0)
            if not broken and moved <= tolerance:
                return max(values) if facts.unified else values[-1], ""
            waited = (now - begun) / 1e9
            if broken and (trace.missing or waited >= timeout_s):
                return None, broken
            if waited >= timeout_s:
                self.edge()
                moving = f"the memory still moved by {format_value(moved, BYTES)} in {calm_ns / 1e9:.2g} s"
                return None, f"{moving}, {timeout_s:g} s after the test; on the device: {self._traces.holders(facts)}"


def list_visible(value: str | None) -> tuple[DeviceFacts, ...]:
    """The devices of a process with this CUDA_VISIBLE_DEVICES; empty if no driver lists any."""
    sampler = Sampler()
    try:
        sampler.start()
        devices = Devices(sampler)
        devices.open()
        return devices.filter_visible(value, None)[0]
    except SamplerError:
        return ()
    finally:
        sampler.stop()
