"""What was measured: plain frozen values, carried from the samplers and clients to the judge.

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
    """Where an engine computes: ``kind`` is ``"cpu"`` or ``"cuda"``; ``name`` as in ``device="NVIDIA H100*"``."""

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
    """Which engine answered: what a reader needs to repeat the measurement."""

    name: str
    version: str
    model: str
    devices: tuple[Device, ...] = ()
    startup_seconds: float | None = None

    @property
    def label(self) -> str:
        """``vllm:Qwen/Qwen3-0.6B``: what tells it from others of a test."""
        return f"{self.name}:{self.model}"

    @property
    def device_name(self) -> str:
        """The names of the devices, joined; ``"unknown device"`` when the engine runs where we cannot see."""
        return " + ".join(sorted({device.name for device in self.devices})) or "unknown device"

    def is_called(self, glob: str) -> bool:
        """Whether a glob means its name or its label. A name means itself, even one with ``[...]``."""
        return any(name == glob or fnmatchcase(name, glob) for name in (self.name, self.label))

    @property
    def on_cpu(self) -> bool:
        """Whether the engine computes on the host's processor, so that its memory is the host's."""
        return bool(self.devices) and all(device.kind == "cpu" for device in self.devices)


@dataclass(frozen=True)
class MemoryTrace:
    """The engine's memory over a window: ``samples`` of (time ns, bytes), one before and one after it included.

    ``before_bytes`` is the level at the last sample before the window, ``settled_bytes`` the stable level after it
    (None when nobody waited for it, or it never settled: ``settled_reason`` says which). ``fault`` is why the samples
    cannot be trusted and ``missing`` why they do not suffice to tell, each empty when there is no such reason.
    ``source`` says in words what was read and how often. ``attribution`` says how it was attributed to the engine.
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
        return max((value for _, value in self.samples), default=None)

    def cut(self, window: Window) -> MemoryTrace:
        """The part inside ``window``, with one sample on either side of it."""
        kept, before = around(self.samples, window)
        return replace(
            self,
            samples=kept,
            before_bytes=before,
            settled_bytes=None,
            settled_reason="",
            max_gap_ns=_max_gap(kept),
        )


def around(samples: Sequence[tuple[int, int]], window: Window) -> tuple[tuple[tuple[int, int], ...], int | None]:
    """The samples inside a window with one on either side, and the level before it, None where no sample lies there."""
    first = max((i for i, (t, _) in enumerate(samples) if t <= window.start_ns), default=0)
    stop = next((i + 1 for i, (t, _) in enumerate(samples) if t >= window.end_ns), len(samples))
    kept = tuple(samples[first:stop])
    return kept, kept[0][1] if kept and kept[0][0] <= window.start_ns else None


def _max_gap(samples: tuple[tuple[int, int], ...]) -> int:
    return max((b[0] - a[0] for a, b in itertools.pairwise(samples)), default=0)


@dataclass(frozen=True)
class DeviceProcess:
    """A process that computes on a device: ``used_bytes`` is None where the driver does not say.

    ``name`` is empty where nobody can see it from here (another container, or it has ended).
    """

    pid: int
    name: str = ""
    used_bytes: int | None = None

    def __str__(self) -> str:
        return f"{self.pid} ({self.name})" if self.name else str(self.pid)


@dataclass(frozen=True)
class Energy:
    """What a device consumed over a window, in joules; None with the ``reason`` why it is not known.

    ``above_idle_joules`` leaves out what the quiet device would have consumed, ``idle_watts`` before any engine ran.
    ``instant_watts`` is the mean of the instant power, the second opinion; ``fault`` says that the two disagree.
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
    """The state a device was in over a window: the cause beside the number.

    ``throttled_seconds`` by reason (``hardware thermal``, ``software power cap``, ...). Temperatures are at start and
    end in °C, clocks and utilization the mean; None where the device does not say. ``newcomers`` are foreign processes
    that were not on the device when the session began. ``slowdown`` is why times and rates are not the engine's own.
    ``unknown`` says of each reading that the device does not give why that is.
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
    """One number and how it came about, or the reason why there is none.

    ``value`` is in the base unit of its metric. ``samples`` says how many observations stand behind it.
    """

    value: float | None
    how: str = ""
    reason: str = ""
    samples: int | None = None

    @staticmethod
    def missing(reason: str) -> Reading:
        return Reading(None, reason=reason)


@dataclass(frozen=True)
class Missing:
    """In place of a value that is not there: ``reason`` says why, in one sentence."""

    reason: str


@dataclass(frozen=True)
class RecordedValue:
    """A value the test recorded itself with ``llm_perf.record(name, value, unit)``."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class Measurement:
    """Everything known of one window: the input of the judge, together with the budgets.

    ``memory`` is the host's, of the engine's processes; ``devices`` are those it computes on beside the CPU. What is
    not there has its reason in ``memory_missing`` and ``devices_missing``. ``engine_readings`` are numbers only the
    engine knows, by metric name (``memory.kv_cache``, ...), ``engine_stats`` further counts of it, for the reports.
    ``faults`` are what makes every number of this window untrustworthy, one sentence each.
    ``parts`` are the same for each engine alone where the test had several: its own requests and memory; what only an
    engine knows stands in its part. ``label`` tells a part from the others.
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
        """That of one engine, by its label, its name or ``name:model``, globs included.

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
        """What throughput is counted over: the steady parts of loads, without loads first send → last response."""
        steady = tuple(load.steady for load in self.loads if load.steady is not None)
        sent, ended = [r.sent_ns for r in self.requests], [r.end_ns for r in self.requests]
        return (Window(min(sent), max(ended)),) if sent and not steady else steady

    @cached_property
    def distributions(self) -> dict[str, Distribution]:
        """The values of each latency metric, once they have been asked for."""
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
