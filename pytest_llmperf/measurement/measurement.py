"""What was measured over one window: a frozen value, passed from the samplers and clients to the judge and the reports.

All times are nanoseconds of ``time.monotonic_ns()``, one clock for every process of a host.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.prompts import PromptCache
from pytest_llmperf.measurement.window import Window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.cancelling.cancelled import CancelledRequest
    from pytest_llmperf.measurement.capacity.result import CapacityResult, SweepResult
    from pytest_llmperf.measurement.device_trace import DeviceTrace
    from pytest_llmperf.measurement.distribution import Distribution
    from pytest_llmperf.measurement.engine_info import EngineInfo
    from pytest_llmperf.measurement.host.state import HostState
    from pytest_llmperf.measurement.load import Load
    from pytest_llmperf.measurement.memory_trace import MemoryTrace
    from pytest_llmperf.measurement.pricing.prices import Prices
    from pytest_llmperf.measurement.quality.comparison import NoComparison, QualityComparison, Score
    from pytest_llmperf.measurement.quality.next_tokens import TextNextTokens
    from pytest_llmperf.measurement.reading import PageReading, Reading
    from pytest_llmperf.measurement.request import RequestTiming, Work
    from pytest_llmperf.measurement.server_clock import ServerClock
    from pytest_llmperf.measurement.unread import UnreadCall


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
        requests: all that were sent for text, in order of sending.
        memory: of the engine's processes on the host; None for the reason in ``memory_missing``.
        devices: those that the engine computes on beside the CPU; empty for the reason in ``devices_missing``, which is
            empty itself if the engine computes on the CPU.
        engine_readings: numbers that only the engine knows, by the name of the metric (``memory.kv_cache``).
        engine_stats: further numbers of the engine, for reports; a name ends in its unit (``queue_mean_seconds``).
        server_clock: the times of the requests by the server's own counters; None if it has none, and of several
            engines together.
        records: what the test recorded itself.
        windows: named parts of the test.
        faults: what makes every number of this window invalid, one sentence each.
        disturbances: what else the engine did during the window, one sentence each; it can only have made most numbers
            worse.
        unread: calls of the app whose answers were not read, in order of sending.
        cancelled: requests that the test expected to be cancelled, in order of sending; ``requests`` has none of them.
        rounds: how often the test's body ran in the window.
        looks: how often its budgets were judged so far, of a test that goes on until they are decided; None for others.
        round_starts_ns: when each of these rounds began; empty if that is not known.
        attempt: 1 for the first run of the test, more for its reruns.
        parts: the same for each engine alone if the test had several; what only an engine knows is in its part.
        label: of a part, what tells its engine from the others; else empty.
        loads: the workloads that were run.
        capacities: the searches for the highest rate, whose requests are not among ``requests``.
        sweeps: curves over rates or concurrencies, whose requests are not among ``requests`` either.
        quality: the engine's next tokens beside those of a reference, or why they were not compared; None if no budget
            of the test asks for it.
        next_tokens: what the engine expects next, where the run keeps it for later ones.
        scores: the values of quality that the test recorded itself, in this order.
        page_readings: what was read from metrics pages, by the name of the metric; of several engines each part has its
            own.
        prompt_cache: what the caches of the engine held of prompts; of several engines each part has its own.
        host: what the host did over the window; None if it was not looked at, as for a part of a test.
        kv_levels: pairs of time in ns and the bytes of the KV cache in use from then on, in order; empty if not known.
        idle: the memory that was held while all models of the test were loaded and no request ran; None if the test
            does not limit it.
        prices: what the project says that devices cost; None if it says nothing.
        host_bytes: the memory of the host; None if it is not known.
        unloaded: the memory that was held after the test had unloaded its model or put it to sleep; None if it did not.
        others: requests that were sent for embeddings, ranks or scores, in the same order.
        works: what the ``requests`` have the engine do; :meth:`turn_to` changes it.
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
    server_clock: ServerClock | None = None
    records: tuple[RecordedValue, ...] = ()
    windows: tuple[Window, ...] = ()
    faults: tuple[str, ...] = ()
    disturbances: tuple[str, ...] = ()
    host: HostState | None = None
    unread: tuple[UnreadCall, ...] = ()
    cancelled: tuple[CancelledRequest, ...] = ()
    rounds: int = 1
    looks: int | None = None
    round_starts_ns: tuple[int, ...] = ()
    attempt: int = 1
    parts: tuple[Measurement, ...] = ()
    label: str = ""
    loads: tuple[Load, ...] = ()
    capacities: tuple[CapacityResult, ...] = ()
    sweeps: tuple[SweepResult, ...] = ()
    kv_levels: tuple[tuple[int, int], ...] = ()
    idle: Reading | None = None
    unloaded: Reading | None = None
    quality: QualityComparison | NoComparison | None = None
    next_tokens: TextNextTokens | None = None
    scores: tuple[Score, ...] = ()
    page_readings: Mapping[str, PageReading] = field(default_factory=dict)
    prompt_cache: PromptCache = field(default_factory=PromptCache)
    prices: Prices | None = None
    host_bytes: int | None = None
    others: tuple[RequestTiming, ...] = ()
    works: tuple[Work, ...] = ("text",)

    def select_engine(self, engine: str) -> Measurement:
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

    def turn_to(self, works: tuple[Work, ...]) -> Measurement:
        """The same measurement with the requests for these works as its ``requests``, and all others as the others.

        Loads, and what a server's clock or an engine's cache says, are of requests for text.
        """
        if works == self.works:
            return self
        if works not in self._turned:
            every = sorted((*self.requests, *self.others), key=lambda request: request.sent_ns)
            of_text = works == ("text",)
            self._turned[works] = replace(
                self,
                requests=tuple(request for request in every if request.work in works),
                others=tuple(request for request in every if request.work not in works),
                works=works,
                loads=self.loads if of_text else (),
                server_clock=self.server_clock if of_text else None,
                parts=tuple(part.turn_to(works) for part in self.parts),
            )
        return self._turned[works]

    @cached_property
    def _turned(self) -> dict[tuple[Work, ...], Measurement]:
        return {}

    @property
    def adapters(self) -> tuple[str, ...]:
        """The adapters that requests asked for, the model itself as "", in order; empty if none asked for any."""
        names = tuple(dict.fromkeys(request.adapter for request in self.requests))
        return names if any(names) else ()

    def select_adapter(self, adapter: str) -> Measurement:
        """The requests that asked for this adapter, "" for the model itself; rates are still over the whole time."""
        found = replace(self, requests=tuple(r for r in self.requests if r.adapter == adapter), parts=())
        found.__dict__["spans"] = self.spans  # kept as a cached property keeps it
        return found

    @cached_property
    def judged(self) -> tuple[RequestTiming, ...]:
        """The requests whose latencies count: all but those of a warm-up or a cool-down."""
        return tuple(r for r in self.requests if r.phase == "steady")

    @cached_property
    def spans(self) -> tuple[Window, ...]:
        """The time that rates are taken over: the steady parts of loads; without a load, first send → last response.

        Of several rounds that is each of them, without what lies between, unless a request of one reaches into another.
        """
        if steady := [span for load in self.loads for span in load.spans]:
            return tuple(_merge(steady))
        rounds = [_cover(group) for group in self._split_by_round()]
        is_apart = all(one.end_ns <= after.start_ns for one, after in itertools.pairwise(rounds))
        return tuple(rounds) if is_apart else (_cover(self.requests),)

    def _split_by_round(self) -> list[list[RequestTiming]]:
        """The requests of each round that sent any, by when they were sent; all together if rounds are not known."""
        groups: dict[int, list[RequestTiming]] = {}
        for request in self.requests:
            groups.setdefault(bisect_right(self.round_starts_ns, request.sent_ns), []).append(request)
        return [groups[number] for number in sorted(groups)]

    @cached_property
    def engine_seconds(self) -> float:
        """The engine's time: how long at least one request was with it, in seconds.

        A request is with the engine from its sending to the end of its answer, also if it failed, belongs to a warm-up
        of its load, or was a call for text that was not read; a cancelled one until the engine has noticed. Requests at
        the same time count once; pauses between requests and rounds do not count.
        """
        asked = [(r.sent_ns, r.end_ns) for r in (*self.requests, *self.others)]
        asked += [(call.sent_ns, call.end_ns) for call in self.unread if not call.harmless]
        asked += [(one.sent_ns, one.noticed_ns or one.cancelled_ns) for one in self.cancelled]
        return sum(span.seconds for span in _merge([Window(*span) for span in asked]))

    @cached_property
    def distributions(self) -> dict[str, Distribution]:
        """The values of each distribution by the metric's name, kept from when they are first asked for."""
        return {}

    @cached_property
    def prompt_faults(self) -> dict[bool, str]:
        """Why its prompts count as cached, by how much is tolerated, kept from when it is first asked for."""
        return {}

    def cut(self, window: Window) -> Measurement:
        """The same measurement inside a part of its window: the requests sent in it and the memory over it."""
        return Measurement(
            window=window,
            engine=self.engine,
            requests=tuple(r for r in self.requests if window.start_ns <= r.sent_ns < window.end_ns),
            others=tuple(r for r in self.others if window.start_ns <= r.sent_ns < window.end_ns),
            works=self.works,
            memory=self.memory.cut(window) if self.memory else None,
            memory_missing=self.memory_missing,
            devices=tuple(trace.cut(window) for trace in self.devices),
            devices_missing=self.devices_missing,
            engine_readings=self.engine_readings,
            kv_levels=tuple(level for level in self.kv_levels if window.start_ns <= level[0] < window.end_ns),
            idle=self.idle,
            unloaded=self.unloaded,
            prompt_cache=self.prompt_cache,
            prices=self.prices,
            host_bytes=self.host_bytes,
            faults=self.faults,
            disturbances=self.disturbances,
            unread=tuple(call for call in self.unread if window.start_ns <= call.sent_ns < window.end_ns),
            cancelled=tuple(one for one in self.cancelled if window.start_ns <= one.sent_ns < window.end_ns),
            parts=tuple(part.cut(window) for part in self.parts),
            label=self.label,
        )


def _merge(spans: Sequence[Window]) -> list[Window]:
    """The same time as windows that do not overlap: loads may run at once."""
    merged: list[Window] = []
    for span in sorted(spans, key=lambda span: span.start_ns):
        if merged and span.start_ns <= merged[-1].end_ns:
            merged[-1] = Window(merged[-1].start_ns, max(merged[-1].end_ns, span.end_ns))
        else:
            merged.append(span)
    return merged


def _cover(requests: Sequence[RequestTiming]) -> Window:
    """From the first send to the last response."""
    return Window(min(request.sent_ns for request in requests), max(request.end_ns for request in requests))
