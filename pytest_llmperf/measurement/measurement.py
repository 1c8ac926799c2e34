"""What was measured: frozen values, passed from the samplers and clients to the judge and the reports.

All times are nanoseconds of ``time.monotonic_ns()``, one clock for every process of a host.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from pytest_llmperf.measurement.window import Window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.distribution import Distribution
    from pytest_llmperf.measurement.load import Load
    from pytest_llmperf.measurement.request import RequestTiming

Attribution = Literal["tree", "pids", "nspid", "exclusive", "rise", "device", "unified"]
"""How memory was attributed to the engine, the surest way first.

``tree``: host memory of its processes. On a device: ``pids``, the driver lists its processes; ``nspid``, it lists them
under the pids of another namespace; ``exclusive``, nobody else was on the device when it started: level less the level
then; ``rise``, somebody was: the same, with what they took since; ``device``, all of the device, whoever holds it;
``unified``, the host's memory less its level then, because the device computes in it and has none of its own.
"""


@dataclass(frozen=True)
class Device:
    """Where an engine computes.

    Attributes:
        kind: ``"cpu"`` or ``"cuda"``.
        name: the product's name, which ``device="NVIDIA H100*"`` in a marker is matched with.
        uuid: the driver's identifier; empty for a CPU.
    """

    kind: str
    name: str
    uuid: str = ""

    @property
    def label(self) -> str:
        """``NVIDIA L4 GPU-1a2b3c4d``: its name and enough of its UUID to tell two of a kind apart."""
        return f"{self.name} {self.uuid[:12]}".rstrip()

    def name_in(self, reason: str) -> str:
        """``reason`` with the label of the device in front, unless it begins with the device's name already."""
        return reason if reason.startswith(self.name) else f"{self.label}: {reason}"


@dataclass(frozen=True)
class EngineInfo:
    """Which engine answered: what a reader needs to repeat the measurement.

    Attributes:
        name, version, model: as the engine gives them.
        devices: where it computes; empty if that cannot be seen from here.
        startup_seconds: from its start to ready; None if it was already running.
    """

    name: str
    version: str
    model: str
    devices: tuple[Device, ...] = ()
    startup_seconds: float | None = None

    @property
    def label(self) -> str:
        """``vllm:Qwen/Qwen3-0.6B``: name and model, which tell it from the other engines of a test."""
        return f"{self.name}:{self.model}"

    @property
    def device_name(self) -> str:
        """The names of the devices, joined; ``"unknown device"`` if they cannot be seen from here."""
        return " + ".join(sorted({device.name for device in self.devices})) or "unknown device"

    def is_called(self, glob: str) -> bool:
        """Whether a glob matches its name or its label. A name matches itself, even one with ``[...]``."""
        return any(name == glob or fnmatchcase(name, glob) for name in (self.name, self.label))

    @property
    def on_cpu(self) -> bool:
        """Whether the engine computes on the host's processor, so that its memory is the host's."""
        return bool(self.devices) and all(device.kind == "cpu" for device in self.devices)


@dataclass(frozen=True)
class MemoryTrace:
    """The engine's memory over a window.

    Attributes:
        samples: pairs of time in ns and bytes, with one sample before the window and one after it.
        source: what was read and how often, in words.
        before_bytes: the last level before the window; None if there is no sample from then.
        settled_bytes: the stable level after the window; None if it was not waited for or did not settle.
        settled_reason: why it did not settle; empty if it did, or was not waited for.
        max_gap_ns: the longest time between two samples.
        fault: why the samples cannot be trusted; empty if they can.
        missing: why the samples do not tell the engine's memory; empty if they do.
        attribution: how the memory was attributed to the engine.
    """

    samples: tuple[tuple[int, int], ...]
    source: str
    before_bytes: int | None = None
    settled_bytes: int | None = None
    settled_reason: str = ""
    max_gap_ns: int = 0
    fault: str = ""
    missing: str = ""
    attribution: Attribution = "tree"

    @property
    def peak_bytes(self) -> int | None:
        """The largest sample; None without any."""
        return max((value for _, value in self.samples), default=None)

    def cut(self, window: Window) -> MemoryTrace:
        """The part inside ``window``, with one sample on either side of it."""
        kept, before = select_around(self.samples, window)
        return replace(
            self,
            samples=kept,
            before_bytes=before,
            settled_bytes=None,
            settled_reason="",
            max_gap_ns=_max_gap(kept),
        )


def select_around(samples: Sequence[tuple[int, int]], window: Window) -> tuple[tuple[tuple[int, int], ...], int | None]:
    """The samples inside a window with one on either side, and the level before it (None without a sample there)."""
    first = max((i for i, (t, _) in enumerate(samples) if t <= window.start_ns), default=0)
    stop = next((i + 1 for i, (t, _) in enumerate(samples) if t >= window.end_ns), len(samples))
    kept = tuple(samples[first:stop])
    return kept, kept[0][1] if kept and kept[0][0] <= window.start_ns else None


def _max_gap(samples: tuple[tuple[int, int], ...]) -> int:
    return max((b[0] - a[0] for a, b in itertools.pairwise(samples)), default=0)


@dataclass(frozen=True)
class DeviceProcess:
    """A process that computes on a device.

    Attributes:
        pid: as the driver gives it.
        name: of its program; empty if it cannot be seen from here (another container, or it has ended).
        used_bytes: its memory on the device; None if the driver does not say.
    """

    pid: int
    name: str = ""
    used_bytes: int | None = None

    def __str__(self) -> str:
        return f"{self.pid} ({self.name})" if self.name else str(self.pid)


@dataclass(frozen=True)
class Energy:
    """What a device consumed over a window.

    Attributes:
        joules: by its energy counter; None for the ``reason``.
        above_idle_joules: less what the idle device would have consumed; None if that is not known.
        idle_watts: the power of the device before any engine ran; None if not known.
        instant_watts: the mean of the instant power, which ``joules`` is compared with; None if not read.
        tick_seconds: the time between two updates of the counter; None if not known.
        how: how the joules were measured, in words.
        reason: why there are no joules; empty if there are.
        fault: why the joules cannot be trusted (counter and instant power disagree); empty if they can.
    """

    joules: float | None = None
    above_idle_joules: float | None = None
    idle_watts: float | None = None
    instant_watts: float | None = None
    tick_seconds: float | None = None
    how: str = ""
    reason: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Conditions:
    """The state of a device over a window. A value is None if the device does not give it.

    Attributes:
        throttled_seconds: how long the clocks were held back, by reason (``hardware thermal``, ...).
        temperature_c, memory_temperature_c: at the start and at the end, in °C.
        sm_clock_mhz: the mean clock in MHz.
        utilization: the mean share of the time in which a kernel ran.
        newcomers: foreign processes that came to the device since the session began.
        slowdown: why times and rates are not the engine's own; empty if they are.
        unknown: for each value that the device does not give, why.
    """

    throttled_seconds: Mapping[str, float] = field(default_factory=dict)
    temperature_c: tuple[float, float] | None = None
    memory_temperature_c: tuple[float, float] | None = None
    sm_clock_mhz: float | None = None
    utilization: float | None = None
    newcomers: tuple[DeviceProcess, ...] = ()
    slowdown: str = ""
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeviceTrace:
    """One device over a window: the engine's memory on it, its energy, and the state it was in."""

    device: Device
    memory: MemoryTrace
    energy: Energy = Energy(reason="no energy counter was read")
    conditions: Conditions = Conditions()

    def cut(self, window: Window) -> DeviceTrace:
        """The part inside ``window``; energy and conditions are read for whole tests only."""
        energy = Energy(reason="energy is measured for a whole test, not for a part of it")
        return DeviceTrace(self.device, self.memory.cut(window), energy)


@dataclass(frozen=True)
class Reading:
    """One number and how it was measured, or the reason why there is none.

    Attributes:
        value: in the base unit of its metric (bytes, seconds, tok/s, ...); None if it was not measured.
        how: formula and source in words; empty for a missing value.
        reason: why there is no value, in one sentence; empty if there is one.
        samples: how many observations the value is computed from; None if that has no meaning for it.
    """

    value: float | None
    how: str = ""
    reason: str = ""
    samples: int | None = None

    @staticmethod
    def missing(reason: str) -> Reading:
        """A reading without a value."""
        return Reading(None, reason=reason)


@dataclass(frozen=True)
class Missing:
    """In place of a value that is not there: ``reason`` says why, in one sentence."""

    reason: str


@dataclass(frozen=True)
class RecordedValue:
    """A value that the test recorded itself with ``llm_perf.record(name, value, unit)``; it is not judged."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class Measurement:
    """Everything known of one window: the input of the judge, together with the limits.

    Attributes:
        window: the time that was measured.
        engine: the engine, of several the first; None if the test used none.
        requests: all that were sent, in order of sending.
        memory: of the engine's processes on the host; None for the reason in ``memory_missing``.
        devices: those that the engine computes on beside the CPU; empty for the reason in ``devices_missing``, which is
            empty itself if the engine computes on the CPU.
        engine_readings: numbers that only the engine knows, by the name of the metric (``memory.kv_cache``).
        engine_stats: further numbers of the engine, for reports; a name ends in its unit (``queue_mean_seconds``).
        records: what the test recorded itself.
        windows: named parts of the test.
        faults: what makes every number of this window invalid, one sentence each.
        rounds: how often the test's body ran in the window.
        attempt: 1 for the first run of the test, more for its reruns.
        parts: the same for each engine alone if the test had several; what only an engine knows is in its part.
        label: of a part, what tells its engine from the others; else empty.
        loads: the workloads that were run.
        idle: the memory that was held after the test had unloaded its model or put it to sleep; None if it did not.
    """

    window: Window
    engine: EngineInfo | None = None
    requests: tuple[RequestTiming, ...] = ()
    memory: MemoryTrace | None = None
    memory_missing: str = ""
    devices: tuple[DeviceTrace, ...] = ()
    devices_missing: str = ""
    engine_readings: Mapping[str, Reading] = field(default_factory=dict)
    engine_stats: Mapping[str, float] = field(default_factory=dict)
    records: tuple[RecordedValue, ...] = ()
    windows: tuple[Window, ...] = ()
    faults: tuple[str, ...] = ()
    rounds: int = 1
    attempt: int = 1
    parts: tuple[Measurement, ...] = ()
    label: str = ""
    loads: tuple[Load, ...] = ()
    idle: Reading | None = None

    def part(self, engine: str) -> Measurement:
        """The measurement of one engine, by its label, its name or ``name:model``, globs included.

        Raises:
            ValueError: the test had no such engine, or several.
        """
        parts = [part for part in self.parts or (self,) if part.engine is not None]
        found = [p for p in parts if p.label == engine] or [p for p in parts if p.engine and p.engine.is_called(engine)]
        if len(found) != 1:
            names = ", ".join(p.label or (p.engine.label if p.engine else "") for p in parts) or "none"
            raise ValueError(f"{engine!r} is {'no' if not found else 'more than one'} engine of this test: {names}")
        return found[0]

    @cached_property
    def judged(self) -> tuple[RequestTiming, ...]:
        """The requests whose latencies count: all but those of a warm-up or a cool-down."""
        return tuple(r for r in self.requests if r.phase == "steady")

    @cached_property
    def spans(self) -> tuple[Window, ...]:
        """The time that rates are taken over: the steady parts of loads; without a load, first send → last response."""
        steady = tuple(load.steady for load in self.loads if load.steady is not None)
        sent, ended = [r.sent_ns for r in self.requests], [r.end_ns for r in self.requests]
        return (Window(min(sent), max(ended)),) if sent and not steady else steady

    @cached_property
    def distributions(self) -> dict[str, Distribution]:
        """The values of each distribution by the metric's name, kept from when they are first asked for."""
        return {}

    def cut(self, window: Window) -> Measurement:
        """The same measurement inside a part of its window: the requests sent in it and the memory over it."""
        return Measurement(
            window=window,
            engine=self.engine,
            requests=tuple(r for r in self.requests if window.start_ns <= r.sent_ns < window.end_ns),
            memory=self.memory.cut(window) if self.memory else None,
            memory_missing=self.memory_missing,
            devices=tuple(trace.cut(window) for trace in self.devices),
            devices_missing=self.devices_missing,
            engine_readings=self.engine_readings,
            idle=self.idle,
            faults=self.faults,
            parts=tuple(part.cut(window) for part in self.parts),
            label=self.label,
        )
