"""Measures one test: its window, its requests, the memory of its engines, and the verdicts on its budgets."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.overlooked import judge_overlooked
from pytest_llmperf.engines.api.observation import Observed
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.measurement.measurement import Measurement, RecordedValue
from pytest_llmperf.measurement.parts import label_parts
from pytest_llmperf.measurement.prompts import PromptCache
from pytest_llmperf.measurement.quality.comparison import make_score
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.measurement.server_clock import sum_stated_times
from pytest_llmperf.measurement.unread import UnreadCall
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.metrics.metric import SampleSource
from pytest_llmperf.metrics.table import find, read, why_unread
from pytest_llmperf.plugin.app_loads.left_out import LeftOut
from pytest_llmperf.plugin.cancelling.expectation import Expectation
from pytest_llmperf.plugin.cancelling.expectations import Expectations
from pytest_llmperf.plugin.curves.curves import Curves
from pytest_llmperf.plugin.measuring.adapters import AdapterNames
from pytest_llmperf.plugin.measuring.app_relays import AppCalls
from pytest_llmperf.plugin.measuring.forked_calls import WHAT
from pytest_llmperf.plugin.measuring.host_watch import HostWatch
from pytest_llmperf.plugin.measuring.left_overs import BORROWED, LeftOver, describe_left_overs
from pytest_llmperf.plugin.measuring.looks import Looks
from pytest_llmperf.plugin.measuring.page_readings import PageReadings
from pytest_llmperf.plugin.measuring.prompt_caches import find_cache
from pytest_llmperf.plugin.measuring.request_log import RequestLog
from pytest_llmperf.plugin.measuring.settled_levels import SettledLevels
from pytest_llmperf.system.memory_size import find_memory_size
from pytest_llmperf.traffic.client.listener import NoGrowth
from pytest_llmperf.traffic.relay.ignored_paths import check_ignored_path, ignore_call

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from pytest_llmperf.budgets.compared import Compare
    from pytest_llmperf.budgets.interval import Confidence
    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.engines.api.observation import Observation
    from pytest_llmperf.measurement.capacity.steps import SearchOptions
    from pytest_llmperf.measurement.load import Load
    from pytest_llmperf.measurement.memory_trace import MemoryTrace
    from pytest_llmperf.measurement.pages.definition import PageMetric
    from pytest_llmperf.measurement.pricing.prices import Prices
    from pytest_llmperf.measurement.quality.comparison import Score
    from pytest_llmperf.plugin.curves.rate_search import RateSearch, Sweep
    from pytest_llmperf.plugin.measuring.app_relays import AppRelays
    from pytest_llmperf.plugin.measuring.engine_telemetry import EngineTelemetry
    from pytest_llmperf.plugin.measuring.forked_calls import ForkedCall, ForkedCalls
    from pytest_llmperf.plugin.measuring.left_overs import LeftOvers, Owner
    from pytest_llmperf.plugin.measuring.looks import Allowance
    from pytest_llmperf.plugin.measuring.prompt_caches import PromptCaches
    from pytest_llmperf.traffic.client.listener import EndLoad, EndRequest, Growth, ListPrompts, Ongoing

_OF_SETTLED_LEVELS = ("memory.retained", "memory.idle", "memory.unloaded")
_END_TIMEOUT = 0.5
# It doubles with each look: a server that runs elsewhere is asked a few times, and not a hundred times a second.
_FIRST_PAUSE = 0.02


def _find_no_pages(engine: Engine) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Rules:
    """How a test is judged.

    Attributes:
        limits: the budgets of the test.
        confidence: how sure a verdict must be.
        run_engines: names and labels of the engines of this run.
        is_warm: whether the test wants prompt caches as they are.
        allowance: how far the test may go until its budgets are decided.
        is_sequential: whether its rounds go on until then.
        compare: finds the baseline of limits against one; None where no test has such a limit.
        prices: what the project says that devices cost; None if it says nothing.
        page_metrics: what is read from metrics pages.
        find_pages: returns the URLs of the metrics pages of an engine.
    """

    limits: Sequence[Limit]
    confidence: Confidence
    run_engines: Collection[str]
    is_warm: bool
    allowance: Allowance
    is_sequential: bool
    compare: Compare | None = None
    prices: Prices | None = None
    page_metrics: Sequence[PageMetric] = ()
    find_pages: Callable[[Engine], Sequence[str]] = _find_no_pages


class MeasuredRun:
    """The measurement of one test, from its setup to the end of its call.

    Only what happens between ``open`` and ``close`` counts. ``measurement`` is None until ``close``; ``ended`` are the
    engines that ended during the test, each with the reason, ``survivors`` the others. ``run_engines`` has the names
    and labels of the engines of the run. ``warm`` leaves the prompt caches of the engines as earlier tests have left
    them.
    """

    def __init__(
        self,
        rules: Rules,
        owner: Owner,
        telemetry: EngineTelemetry,
        relays: AppRelays,
        left_overs: LeftOvers,
        caches: PromptCaches,
        forked: ForkedCalls,
    ) -> None:
        self._rules = rules
        self._owner = owner
        self._caches = caches
        self._telemetry = telemetry
        self._relays = relays
        self._left_overs = left_overs
        self._forked = forked
        self._log = RequestLog(owner, left_overs, caches.remember, forked)
        self._host = HostWatch(telemetry)
        self._calls = AppCalls()
        self._expectations = Expectations()
        self._left_out = LeftOut()
        self._unread: list[tuple[Engine, UnreadCall]] = []
        self._ignored_paths: list[str] = []
        self._forked_by_others: list[LeftOver] = []
        self.rounds = 1
        self._round_starts_ns: list[int] = []
        self._looks = Looks(
            rules.limits,
            rules.confidence,
            rules.allowance,
            is_sequential=rules.is_sequential,
            compare=rules.compare,
        )
        self.measurement: Measurement | None = None
        self._engines: list[Engine] = []
        self.ended: tuple[tuple[Engine, str], ...] = ()
        self.survivors: tuple[Engine, ...] = ()
        self._records: list[RecordedValue] = []
        self._scores: list[Score] = []
        self._windows: list[Window] = []
        self._observations: dict[Engine, Observation] = {}
        self._adapters = AdapterNames()
        self._pages = PageReadings(rules.page_metrics, rules.find_pages, telemetry.watch_page)
        self._named: set[Engine] = set()
        # Engines that earlier tests have left without their models.
        self._absent: set[Engine] = set()
        self._idle = SettledLevels()
        self._unloaded = SettledLevels()
        self._prompt_caches: dict[Engine, PromptCache] = {}
        self._start_ns = 0
        self._is_warmup = False
        self._is_repeated = False
        self._curves = Curves(rules.limits, self._measure_step)

    def name(self, engines: Iterable[Engine]) -> None:
        """Notes that the test has these engines, in its fixtures or its body: they are to be loaded when it is idle.

        Those that it gets while it runs are measured from then on.
        """
        for engine in engines:
            self._named.add(engine)
            if self._start_ns:
                self.use(engine)

    def use(self, engine: Engine) -> None:
        """Adds an engine to the test. One that is added while the test runs is measured from then on."""
        if engine not in self._engines:
            self._engines.append(engine)
            self._forked.know(engine)
            if self._start_ns:
                self._empty_cache(engine)
                self._observations[engine] = engine.insight.observe()
                self._pages.begin(engine)
                self._host.begin([engine])

    @property
    def engines(self) -> tuple[Engine, ...]:
        """The engines of the test so far."""
        return tuple(self._engines)

    def begin(self, engine: Engine, request: Ongoing) -> EndRequest:
        """Registers a request to this engine as the test's own; returns what takes its timing."""
        return self._log.begin(engine, request)

    def begin_load(self, engine: Engine, asked: str, prompts: ListPrompts) -> EndLoad:
        """Registers a load on this engine as the test's own; returns what takes it and its requests."""
        return self._log.begin_load(engine, asked, prompts)

    def begin_growth(self, engine: Engine) -> Growth:
        """Registers a load on this engine that grows until the budgets of the test are decided.

        Raises:
            ValueError: the test has none, or has not begun.
        """
        if not self._rules.limits:
            raise ValueError("until='decided' needs a test with budgets, and this one has none: leave it out")
        if not self._start_ns:
            raise ValueError("until='decided' is for the test itself: what a fixture sends decides no budget")
        if self._is_warmup or self._is_repeated:
            return NoGrowth()
        self._looks.begin_growth()
        return _UntilDecided(self, engine)

    def expect_cancelled(self, engine: Engine, within_s: float) -> Expectation:
        """A block of the test in which requests to this engine are cancelled on purpose."""
        expectation = Expectation(engine, self, within_s)
        self._expectations.add(expectation)
        return expectation

    def list_ended(self, engine: Engine, since_ns: int) -> list[RequestTiming]:
        """The requests to an engine that were sent since a moment and have ended, the app's own calls included."""
        if self.measurement is None and not self._log.closed:
            self._take_calls(Window(self._start_ns, time.monotonic_ns()), final=False)
        return [timing for asked, timing in self._log.requests if asked is engine and timing.sent_ns >= since_ns]

    def count_running_since(self, since_ns: int) -> int:
        """How many requests that were sent since a moment have not ended, as of the last call of ``list_ended``."""
        return sum(1 for at_ns in (*self._log.running_since, *self._calls.running_since) if at_ns >= since_ns)

    def begin_step(self, engine: Engine, asked: str, prompts: ListPrompts) -> EndLoad:
        """Registers a load of a search or a sweep on this engine, whose requests are in no other number of the test."""
        return self._log.begin_load(engine, asked, prompts, apart=True)

    def begin_capacity(self, engine: Engine, options: SearchOptions, asked: str) -> RateSearch:
        """Registers a search for the highest rate on this engine; one of an earlier round goes on.

        Raises:
            ValueError: the test has not begun.
        """
        self._refuse_fixture("capacity()")
        return self._curves.begin_capacity(engine, options, asked, self.rounds)

    def begin_sweep(self, engine: Engine, asked: str) -> Sweep:
        """Registers a sweep on this engine.

        Raises:
            ValueError: the test has not begun.
        """
        self._refuse_fixture("sweep()")
        return self._curves.begin_sweep(engine, asked)

    def _refuse_fixture(self, what: str) -> None:
        if not self._start_ns:
            raise ValueError(f"{what} is for the test itself: what a fixture sends belongs to no test")

    def _measure_step(self, engine: Engine, load: Load, requests: Sequence[RequestTiming]) -> Measurement:
        """What is known of an engine while it had one load of a search or a sweep, which has ended."""
        now_ns = time.monotonic_ns()
        window = Window(min((r.sent_ns for r in requests), default=now_ns), now_ns)
        seen = self._observations.get(engine)
        observed = seen.read(self._asked_of(engine), Window(self._start_ns, now_ns)) if seen else Observed()
        return Measurement(
            window=window,
            engine=engine.info,
            requests=tuple(sorted(requests, key=lambda request: request.sent_ns)),
            loads=(load,),
            server_clock=observed.server_clock,
            prompt_cache=self._prompt_cache_of([engine], window, observed),
            kv_levels=observed.kv_levels,
        )

    def record_score(self, name: str, value: float, better: str, samples: int | None) -> None:
        """Adds a value of quality of the test's own, which may be limited.

        Raises:
            ValueError: it is no such value, the round has recorded it already, or the test does not run.
        """
        score = make_score(name, value, better, samples, self.rounds)
        if not self._start_ns or self.measurement is not None:
            raise ValueError(f"quality({name!r}, {value!r}): a score is recorded by the test itself, not by a fixture")
        if any(known.name == score.name and known.round == score.round for known in self._scores):
            raise ValueError(f"quality({name!r}, {value!r}): the test has recorded {name} already")
        self._scores.append(score)

    def ignore_path(self, path: str) -> None:
        """See :meth:`LLMPerf.ignore_path`. It holds for the whole test, also for calls before it.

        Raises:
            ValueError: see there.
        """
        check_ignored_path(path)
        self._ignored_paths.append(path)

    def record(self, name: str, value: float, unit: str) -> None:
        """Adds a number of the test's own to the reports; it is not judged."""
        self._records.append(RecordedValue(name, float(value), unit))

    @contextmanager
    def window(self, name: str) -> Iterator[MeasuredWindow]:
        """Measures a part of the test; readable once the ``with`` block has ended."""
        opened = MeasuredWindow(self, name)
        start = time.monotonic_ns()
        try:
            yield opened
        finally:
            opened.window = Window(start, time.monotonic_ns(), name)
            self._windows.append(opened.window)

    def find_caveats(self) -> list[str]:
        """Why a limited peak says nothing about this test, one sentence for each such metric and engine."""
        limited = dict.fromkeys(limit.definition for limit in self._rules.limits if limit.definition.has_peak_caveat)
        return [
            f"{metric.group}_budget({metric.key}=...): {engine.insight.peak_caveat}"
            for metric in limited
            for engine in self._engines
            if engine.insight.peak_caveat
        ]

    def empty_caches(self) -> None:
        """Empties the prompt caches of the engines, unless the test wants them as they are."""
        self._forget_calls()
        self._remember_requests()
        for engine in self._engines:
            self._empty_cache(engine)

    def _empty_cache(self, engine: Engine) -> None:
        if self._rules.is_warm:
            self._prompt_caches[engine] = PromptCache(as_found=True)
            return
        now, before = self._caches.empty(engine), self._prompt_caches.get(engine)
        # What was not emptied before an earlier round holds from then on.
        self._prompt_caches[engine] = now if before is None or before.emptied else before

    def _remember_requests(self) -> None:
        """Notes the prompts of all requests that have been sent so far."""
        for engine in self._engines:
            self._caches.remember(engine, (timing.prompt for timing in self._requests_to([engine])))

    def open(self, *, is_warmup: bool = False) -> None:
        """Starts the window, or that of the warm-up rounds before it.

        Requests of fixtures and warm-up rounds before it are dropped, but for their prompts.
        """
        self._remember_requests()
        for seen in (self._unread, self._forked_by_others, self._records, self._scores, self._windows):
            seen.clear()
        self._expectations.clear()
        self._curves.forget()
        self._absent = {engine for engine in self._engines if engine.state is not EngineState.READY} - self._named
        self._idle.forget()
        self._unloaded.forget()
        self._end_observations()
        self._observations = {e: e.insight.observe() for e in self._engines if not e.has_ended_to_unload}
        for engine in self._observations:
            self._pages.begin(engine)
        self._relays.open()
        self._log.open()
        self._left_out.clear()
        self._left_overs.forget_ended()
        self._telemetry.begin(self._engines, align=self._judges_energy)
        self._is_warmup = is_warmup
        self._host.begin(self._engines)
        self._start_ns = time.monotonic_ns()
        self.rounds = 1
        self._round_starts_ns = [self._start_ns]
        self._looks.open()

    def begin_round(self) -> None:
        """Notes that the test's body runs once more in this window, and empties the prompt caches for it."""
        for engine in self._engines:
            self._empty_cache(engine)
        self.rounds += 1
        self._round_starts_ns.append(time.monotonic_ns())

    def needs_another_round(self) -> bool:
        """Whether another round may decide a budget that is open, none is broken, and the allowance has room for it."""
        so_far = (time.monotonic_ns() - self._start_ns) / 1e9
        return self._looks.has_room(so_far / self.rounds) and self._looks.look_at_round(self.snapshot())

    def needs_more_of(self, engine: Engine, load: Load, requests: Sequence[RequestTiming], seconds: float) -> bool:
        """Whether a further stretch of a load may decide a budget of its engine, and the allowance has room for it.

        ``load`` and ``requests`` are what it has sent so far, ``seconds`` about how long the stretch takes.
        """
        if not self._looks.has_room(seconds):
            return False
        with self._log.preview(engine, load, requests):
            measurement = self.snapshot()
        label = measurement.parts[self._engines.index(engine)].label if measurement.parts else ""
        return self._looks.look_at_growth(measurement, label)

    def cancel(self) -> None:
        """Ends it without a measurement; does nothing for one that has ended."""
        if not self._log.closed:
            self._log.close(time.monotonic_ns())
            self._remember_requests()
            self._end_observations()

    def _end_observations(self) -> None:
        self._forget_calls()
        for observation in self._observations.values():
            observation.close()
        self._observations.clear()
        self._pages.close()

    def _forget_calls(self) -> None:
        """Takes the calls of the app so far, of which only the prompts are kept."""
        now_ns = time.monotonic_ns()
        window = Window(self._start_ns or now_ns, now_ns)
        self._caches.remember_all(self._relays.take(window, self._owner, final=True).prompts)
        self._take_forked_calls()

    def snapshot(self) -> Measurement:
        """The measurement so far; once the test has ended, the whole of it."""
        if self.measurement is not None:
            return self.measurement
        window = Window(self._start_ns, time.monotonic_ns())
        self._host.look(self._engines)
        self._take_calls(window, final=False)
        self._tell_inputs()
        observed = {engine: seen.read(self._asked_of(engine), window) for engine, seen in self._observations.items()}
        return self._measure(window, observed)

    def count_running(self, window: Window) -> int:
        """How many requests that were sent in a part of the test have not ended, as of the last measurement of it."""
        running = [*self._log.running_since, *self._calls.running_since]
        return sum(1 for at_ns in running if window.start_ns <= at_ns < window.end_ns)

    def use_only(self, engine: Engine) -> None:
        """From now on measures this engine alone, once it is reopened."""
        self._remember_requests()
        self._engines = [engine]
        self._forked.know(engine)
        self._prompt_caches.clear()

    def reopen(self) -> None:
        """Begins a further measurement by the same test, with empty prompt caches.

        A load that grows until budgets are decided is sent once: each measurement is to have the same work.
        """
        self.measurement = None
        self._is_repeated = True
        self._log.reopen()
        self.empty_caches()
        self.open()

    def count_requests_to_others(self) -> int:
        """How many requests of the measurement went to another engine than its first."""
        return sum(1 for engine, _ in self._log.requests if engine is not self._engines[0])

    def close(self, assess: Callable[[Measurement], Measurement]) -> tuple[Measurement, list[Verdict]]:
        """Ends the window; returns what was measured and the verdict on each budget.

        ``assess`` adds to the measurement what is found out once nothing is measured any more.
        """
        measurement = self.measurement = assess(self.end())
        overlooked = judge_overlooked(self._rules.limits, measurement, self._rules.run_engines)
        return measurement, [*self._looks.judge(measurement), *overlooked]

    def end(self) -> Measurement:
        """Ends the window; returns what was measured."""
        window = Window(self._start_ns, time.monotonic_ns())
        self._host.look(self._engines)
        self._log.close(window.end_ns)
        self._telemetry.edge(self._engines, align=self._judges_energy)
        self._take_calls(window, final=True)  # before the observation ends, which compares them with what it saw
        self._tell_inputs()
        observed = {engine: seen.end(self._asked_of(engine), window) for engine, seen in self._observations.items()}
        self._pages.end()
        self._remember_requests()
        measurement = self._measure(window, observed)
        if not self._faults() and _engine_may_have_ended(measurement):
            measurement = replace(measurement, faults=(*self._faults(wait=_END_TIMEOUT), *measurement.faults))
        if self._judges_idle or any(limit.definition.needs_settling for limit in self._rules.limits):
            measurement = self._settle(measurement)
        if self._judges_idle and not self._idle.is_noted:
            self._take_idle(measurement)
            measurement = self._add_idle(measurement)
        self.measurement = measurement
        return measurement

    def _take_calls(self, window: Window, *, final: bool) -> None:
        self._calls = self._relays.take(window, self._owner, final=final)
        self._caches.remember_all(self._calls.prompts)
        self._log.extend(self._calls.requests)
        self._left_out.note(timing for _, timing in self._calls.requests)
        self._unread += self._calls.unread
        for engine, call in self._take_forked_calls():
            if not window.start_ns <= call.sent_ns < window.end_ns or not call.kind:
                continue
            if call.owner == self._owner:
                self._unread.append((engine, UnreadCall(WHAT, call.sent_ns, window.end_ns)))
            else:
                self._forked_by_others.append(LeftOver(call.owner, call.kind, call.sent_ns, engine))

    def _take_forked_calls(self) -> list[tuple[Engine, ForkedCall]]:
        """Takes what forked processes have sent so far, each with its engine, and remembers the prompts."""
        found = []
        for call in self._forked.take():
            engine = self._forked.find_engine(call) or next(iter(self._engines), None)
            if engine is not None:
                self._caches.remember(engine, call.prompts)
                found.append((engine, call))
        return found

    def leave_out(self, warmup: int | str, cooldown: int | str) -> None:
        """Leaves out both ends of what the app sends from now on.

        Raises:
            ValueError: an argument is neither a number of requests nor a time, or the test has not begun.
        """
        if not self._start_ns:
            raise ValueError("leave_out is for the test itself: what a fixture sends is not measured")
        self._left_out.begin(time.monotonic_ns(), warmup, cooldown)

    def _requests_to(self, engines: Sequence[Engine]) -> list[RequestTiming]:
        return [timing for _, timing in self._asked_to(engines)]

    def _asked_to(self, engines: Sequence[Engine]) -> list[tuple[Engine, RequestTiming]]:
        found = [pair for pair in self._log.requests if pair[0] in engines or len(self._engines) < 2]
        return [(asked, self._adapters.name(asked, timing)) for asked, timing in found]

    def _unread_by(self, engines: Sequence[Engine]) -> list[UnreadCall]:
        now_ns = time.monotonic_ns()
        borrowed = [
            (one.engine, UnreadCall(BORROWED, one.begun_ns, one.ended_ns or now_ns))
            for one in self._left_overs.find_running(Window(self._start_ns, now_ns))
            if one.borrowed and one.begun_ns >= self._start_ns
        ]
        found = [call for asked, call in (*self._unread, *borrowed) if asked in engines or len(self._engines) < 2]
        return [ignore_call(call, self._ignored_paths) for call in found]

    def _asked_of(self, engine: Engine) -> list[RequestTiming]:
        """What the engine was asked for text, with the calls whose answers were not read: their tokens are unknown."""
        unread = [RequestTiming(call.sent_ns, call.end_ns) for call in self._unread_by([engine]) if not call.harmless]
        apart = [timing for asked, timing in self._log.apart if asked is engine]
        return [*(one for one in self._requests_to([engine]) if one.work == "text"), *apart, *unread]

    def _tell_inputs(self) -> None:
        """Tells what observes an engine of the requests that it was asked for no text by."""
        for engine, seen in self._observations.items():
            seen.inputs = [request for request in self._requests_to([engine]) if request.work != "text"]

    def _measure(self, window: Window, observed: Mapping[Engine, Observed]) -> Measurement:
        if len(self._engines) < 2:
            seen = next(iter(observed.values()), Observed())
            return self._measure_these(self._engines, window, seen)
        # What only an engine knows of itself is not known of several together, but what it found wrong is.
        # What every engine names beside its own model is none of theirs.
        beside = tuple(dict.fromkeys(text for each in observed.values() for text in each.beside))
        beside = tuple(text for text in beside if all(text in each.beside for each in observed.values()))
        seen = Observed(faults=tuple(fault for each in observed.values() for fault in each.faults), beside=beside)
        whole = self._measure_these(self._engines, window, seen)
        parts = [self._measure_these([engine], window, observed.get(engine, Observed())) for engine in self._engines]
        return replace(whole, parts=label_parts(parts))

    def _measure_these(self, engines: Sequence[Engine], window: Window, observed: Observed) -> Measurement:
        memory, missing = self._memory(window, engines)
        asked = self._asked_to(engines)
        phases, loads_of_app = self._left_out.judge([timing for _, timing in self._log.requests])
        counting = sorted(self._expectations.select_counting(asked), key=lambda request: request.sent_ns)
        sent = [replace(one, phase=phases[id(one)]) if id(one) in phases else one for one in counting]
        requests = tuple(request for request in sent if request.work == "text")
        loads = (*(load for asked, load in self._log.loads if asked in engines), *loads_of_app)
        devices, devices_missing = self._telemetry.devices(window, engines) if engines else ((), "")
        return Measurement(
            window=window,
            engine=engines[0].info if engines else None,
            requests=requests,
            cancelled=tuple(self._expectations.select_cancelled(asked)),
            others=tuple(request for request in sent if request.work != "text"),
            memory=memory and memory.set_apart(observed.beside),
            memory_missing=missing,
            devices=tuple(replace(trace, memory=trace.memory.set_apart(observed.beside)) for trace in devices),
            devices_missing=devices_missing,
            engine_readings=observed.readings,
            engine_stats=observed.stats,
            page_readings=self._pages.read(engines[0], window) if len(engines) == 1 else {},
            server_clock=observed.server_clock or (sum_stated_times(requests) if len(engines) < 2 else None),
            records=tuple(self._records),
            scores=tuple(self._scores),
            windows=tuple(self._windows),
            faults=(
                *self._faults(),
                *self._calls.faults,
                *self._expectations.faults,
                *self._left_out.faults,
                *_load_faults(loads),
                *observed.faults,
                *why_unread(observed.readings),
            ),
            disturbances=describe_left_overs(self._find_others(window), self._owner),
            unread=tuple(sorted(self._unread_by(engines), key=lambda call: call.sent_ns)),
            host=self._host.compare(engines, window),
            rounds=self.rounds,
            looks=self._looks.count,
            round_starts_ns=tuple(self._round_starts_ns),
            attempt=self._owner.attempt,
            loads=loads,
            capacities=self._curves.list_capacities(engines),
            sweeps=self._curves.list_sweeps(engines),
            kv_levels=observed.kv_levels,
            idle=self._idle.read(self._find_one_of_several(engines)),
            unloaded=self._unloaded.read(self._find_one_of_several(engines)),
            prompt_cache=self._prompt_cache_of(engines, window, observed),
            prices=self._rules.prices,
            host_bytes=find_memory_size() if self._rules.prices is not None else None,
        )

    def _find_others(self, window: Window) -> list[LeftOver]:
        """What else ran on the engines of this process."""
        found = [*self._left_overs.find_running(window), *self._calls.left_over, *self._forked_by_others]
        own = [one for one in found if one.begun_ns >= window.start_ns and (one.borrowed or one.owner == self._owner)]
        return [one for one in found if one not in own]

    def _prompt_cache_of(self, engines: Sequence[Engine], window: Window, observed: Observed) -> PromptCache:
        """What the caches of an engine held; of several engines each has its own."""
        state = self._prompt_caches.get(engines[0]) if len(engines) == 1 else None
        state = replace(state or PromptCache(), cached_tokens=observed.cached_tokens)
        caches = [find_cache(engine) for engine in engines]
        others = [one for one in self._find_others(window) if find_cache(one.engine) in caches]
        return state.add_others([one.list_prompts() for one in others])

    def _faults(self, wait: float = 0.0) -> tuple[str, ...]:
        """Why engines of the test have ended, one sentence each. Waits up to ``wait`` seconds for the first one."""
        deadline, pause = time.monotonic() + wait, _FIRST_PAUSE
        while True:
            statuses = [(engine, engine.read_status()) for engine in self._engines]
            self.ended = tuple((engine, s.reason) for engine, s in statuses if s.state is EngineState.ENDED)
            self.survivors = tuple(engine for engine, s in statuses if s.state is not EngineState.ENDED)
            found = tuple(reason for _, reason in self.ended)
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            time.sleep(min(pause, left))
            pause *= 2

    def _memory(self, window: Window, engines: Sequence[Engine]) -> tuple[MemoryTrace | None, str]:
        return self._telemetry.memory(window, engines) if engines else (None, "the test used no engine")

    @property
    def _judges_idle(self) -> bool:
        return any(limit.definition.needs_idle for limit in self._rules.limits)

    @property
    def _judges_energy(self) -> bool:
        return any(limit.definition.source is SampleSource.ENERGY_COUNTERS for limit in self._rules.limits)

    def _settle(self, measurement: Measurement) -> Measurement:
        """The measurement with the memory levels after the test, once they have settled."""
        parts = zip(self._engines, measurement.parts, strict=False)
        settled = tuple(self._settle_these(part, [engine]) for engine, part in parts)
        return replace(self._settle_these(measurement, self._engines), parts=settled)

    def _settle_these(self, measurement: Measurement, engines: Sequence[Engine]) -> Measurement:
        memory = measurement.memory
        if memory is not None:
            level, reason = self._telemetry.settle_memory(engines)
            memory = replace(memory, settled_bytes=level, settled_reason=reason)
        devices = []
        settled = [one.value for one in self._rules.limits if one.metric in _OF_SETTLED_LEVELS and not one.relative]
        for trace in measurement.devices:
            level, reason = self._telemetry.settle_device(trace.device.uuid, engines, min(settled, default=0.0))
            devices.append(replace(trace, memory=replace(trace.memory, settled_bytes=level, settled_reason=reason)))
        return replace(measurement, memory=memory, devices=tuple(devices))

    def wait_until_settled(self) -> None:
        """Waits until the memory of the engines has settled, for some seconds at most."""
        self._measure_settled()

    def _measure_settled(self) -> Measurement:
        """A measurement of this moment, with the level that memory has settled at."""
        # The processes of a device are listed once a second: those that have come since are not others'.
        self._telemetry.edge(self._engines, align=False)
        at = time.monotonic_ns()
        return self._settle(self._measure(Window(at, at + 1), {}))

    def note_before_unload(self) -> None:
        """Measures ``memory.idle``, if the test limits it, before the first of its engines unloads or falls asleep."""
        if not self._start_ns or not self._judges_idle or self._idle.is_noted:
            return
        self._take_calls(Window(self._start_ns, time.monotonic_ns()), final=False)
        if self._log.running_since or self._calls.running_since:
            self._idle.note_missing(self._engines, "a request was running when the test unloaded an engine")
        else:
            self._take_idle(self._measure_settled())

    def note_unloaded(self, engine: Engine) -> None:
        """Measures ``memory.unloaded`` of an engine that has unloaded its model or sleeps, once memory has settled."""
        self._unloaded.note(self._measure_settled(), self._engines, [engine])

    def _take_idle(self, settled: Measurement) -> None:
        """Takes ``memory.idle`` from a measurement of a moment in which no request ran and memory had settled."""
        expected = [engine for engine in self._engines if engine not in self._absent or self._requests_to([engine])]
        statuses = [(engine, engine.read_status()) for engine in expected]
        left = [status.reason or engine.title for engine, status in statuses if status.state is not EngineState.READY]
        if left:
            self._idle.note_missing(self._engines, f"not all models of the test were loaded: {', '.join(left)}")
        else:
            self._idle.note(settled, self._engines, expected)

    def _add_idle(self, measurement: Measurement) -> Measurement:
        parts = zip(self._engines, measurement.parts, strict=False)
        return replace(
            measurement,
            idle=self._idle.read(None),
            parts=tuple(replace(part, idle=self._idle.read(engine)) for engine, part in parts),
        )

    def _find_one_of_several(self, engines: Sequence[Engine]) -> Engine | None:
        """The engine, if these are but one of several that the test has."""
        return engines[0] if len(engines) == 1 and len(self._engines) > 1 else None


@dataclass(frozen=True)
class _UntilDecided:
    """Has a load of a test grow until the budgets of the test are decided."""

    measured: MeasuredRun
    engine: Engine

    def goes_on(self, load: Load, requests: Sequence[RequestTiming], seconds: float) -> bool:
        """Whether it needs a further stretch, which takes about so many seconds."""
        return self.measured.needs_more_of(self.engine, load, requests, seconds)


def _load_faults(loads: Sequence[Load]) -> tuple[str, ...]:
    """Why the loads of a test cannot be judged, one sentence each."""
    return tuple(load.fault for load in loads if load.fault)


def _engine_may_have_ended(measurement: Measurement) -> bool:
    """Whether the measurement looks as if an engine had just ended.

    A process closes its connections and gives back its memory shortly before its end can be seen.
    """
    broken = any(request.error is not None and request.finish_reason is None for request in measurement.requests)
    return broken or bool(measurement.faults) or bool(measurement.memory and measurement.memory.fault)


class MeasuredWindow:
    """A part of a test: ``with llm_perf.window("prefill") as w``. It can be read once the ``with`` block has ended.

    Attributes:
        name: as it was given; reports show it.
        window: when it began and ended; None while it is open.
    """

    def __init__(self, measured: MeasuredRun, name: str) -> None:
        self._measured = measured
        self.name = name
        self.window: Window | None = None

    @property
    def seconds(self) -> float:
        """How long the part took, in seconds.

        Raises:
            RuntimeError: it has not ended yet; the same holds for ``measurement`` and ``read``.
        """
        return self._require_closed().seconds

    @property
    def measurement(self) -> Measurement:
        """What was measured inside the window. It has no energy, which is measured for a whole test."""
        return self._measured.snapshot().cut(self._require_closed())

    def read(self, name: str, engine: str | None = None) -> Reading:
        """A metric inside the window, such as ``w.read("latency.ttft_p50").value``. As ``llm_perf.read``.

        Latencies and rates have no value while a request that was sent in the window has not ended.

        Raises:
            ValueError: there is no such metric, or ``engine`` does not name exactly one engine of the test.
        """
        measurement = self.measurement
        found = read(name, measurement if engine is None else measurement.select_engine(engine))
        running = self._measured.count_running(self._require_closed())
        if running and find(name)[0].source is SampleSource.REQUESTS:
            what = "1 request of the window has" if running == 1 else f"{running} requests of the window have"
            return Reading.missing(f"{what} not ended yet")
        return found

    def _require_closed(self) -> Window:
        if self.window is None:
            raise RuntimeError(f"the window {self.name!r} is still open: read it after its with block")
        return self.window
