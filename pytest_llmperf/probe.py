"""One test, measured: its window, its requests, the memory of its engines, and what the judge says of them."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.measurement import Measurement, MemoryTrace, Reading, Record, RequestTiming, Window
from pytest_llmperf.metrics import METRICS, read, split_key
from pytest_llmperf.resources import read_idle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.budgets.budget import Limit
    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.engines.base import Engine
    from pytest_llmperf.engines.observation import Observation, Observed
    from pytest_llmperf.loads import Load
    from pytest_llmperf.measurement import DeviceTrace
    from pytest_llmperf.watcher import Watcher

_END_TIMEOUT = 0.5


class Probe:
    """Lives from a test's setup to the end of its call. Only what happens between ``open`` and ``close`` counts."""

    def __init__(self, limits: Sequence[Limit], attempt: int, watcher: Watcher) -> None:
        self.limits = limits
        self._watcher = watcher
        self.attempt = attempt
        self.rounds = 1
        self.measurement: Measurement | None = None
        self._engines: list[Engine] = []
        self._requests: list[RequestTiming] = []
        self._loads: list[Load] = []
        self._records: list[Record] = []
        self._windows: list[Window] = []
        self._observation: Observation | None = None
        self._idle: Reading | None = None
        self._start_ns = 0

    def use(self, engine: Engine) -> None:
        if engine not in self._engines:
            self._engines.append(engine)

    def add_request(self, timing: RequestTiming) -> None:
        self._requests.append(timing)

    def add_load(self, load: Load) -> None:
        self._loads.append(load)

    def record(self, name: str, value: float, unit: str) -> None:
        self._records.append(Record(name, float(value), unit))

    @contextmanager
    def window(self, name: str) -> Iterator[OpenWindow]:
        opened = OpenWindow(self, name)
        start = time.monotonic_ns()
        try:
            yield opened
        finally:
            opened.window = Window(start, time.monotonic_ns(), name)
            self._windows.append(opened.window)

    def caveats(self) -> list[str]:
        """Why the peak that the test limits says nothing of it, for each of its engines of which that is so."""
        limited = any(limit.metric == "memory.peak" for limit in self.limits)
        return [engine.peak_caveat for engine in self._engines if limited and engine.peak_caveat]

    def open(self) -> None:
        """Forgets what came before: fixtures' requests and warm-up rounds are not the test's."""
        for seen in (self._requests, self._loads, self._records, self._windows):
            seen.clear()
        self._idle = None
        self.abandon()
        # Of several engines nobody can tell which one answered a request.
        self._observation = self._engines[0].observe() if len(self._engines) == 1 else None
        self._watcher.edge(self._engines, align=self._judges_energy)
        self._start_ns = time.monotonic_ns()

    def abandon(self) -> None:
        """Stops looking at the engine: the test ends without a measurement."""
        if self._observation is not None:
            self._observation.abandon()
            self._observation = None

    def snapshot(self) -> Measurement:
        """The measurement so far; once the test has ended, the whole of it."""
        if self.measurement is not None:
            return self.measurement
        window = Window(self._start_ns, time.monotonic_ns())
        return self._measure(window, self._observation.read(self._requests, window) if self._observation else None)

    def close(self) -> tuple[Measurement, list[Verdict]]:
        window = Window(self._start_ns, time.monotonic_ns())
        self._watcher.edge(self._engines, align=self._judges_energy)
        observed = self._observation.end(self._requests, window) if self._observation else None
        measurement = self._measure(window, observed)
        if not self._faults() and _engine_may_have_ended(measurement):
            measurement = replace(measurement, faults=(*self._faults(wait=_END_TIMEOUT), *measurement.faults))
        if any(limit.metric == "memory.retained" for limit in self.limits):
            measurement = self._settled(measurement)
        self.measurement = measurement
        return measurement, judge(self.limits, measurement)

    def log_tails(self) -> list[tuple[str, str]]:
        """The logs of engines that ended during the test, as sections of its report."""
        gone = [engine for engine in self._engines if engine.pids == () and engine.log_tail()]
        return [(f"log of {engine.name}, its last lines", engine.log_tail()) for engine in gone]

    def _measure(self, window: Window, observed: Observed | None) -> Measurement:
        engine = self._engines[0] if self._engines else None
        memory, missing = self._memory(window)
        devices, devices_missing = self._devices(window)
        return Measurement(
            window=window,
            engine=engine.info if engine else None,
            requests=tuple(sorted(self._requests, key=lambda request: request.sent_ns)),
            memory=memory,
            memory_missing=missing,
            devices=devices,
            devices_missing=devices_missing,
            engine_readings=self._engine_readings(observed),
            engine_stats=observed.stats if observed else {},
            records=tuple(self._records),
            windows=tuple(self._windows),
            faults=(*self._faults(), *_load_faults(self._loads), *(observed.faults if observed else ())),
            rounds=self.rounds,
            attempt=self.attempt,
            loads=tuple(self._loads),
        )

    def _faults(self, wait: float = 0.0) -> tuple[str, ...]:
        """Which engines have ended. With ``wait``, within so many seconds from now."""
        deadline = time.monotonic() + wait
        while not (found := tuple(reason for e in self._engines if (reason := e.gone()))):
            if time.monotonic() >= deadline:
                break
            time.sleep(0.01)
        return found

    def _memory(self, window: Window) -> tuple[MemoryTrace | None, str]:
        return self._watcher.memory(window, self._engines) if self._engines else (None, "the test used no engine")

    def _devices(self, window: Window) -> tuple[tuple[DeviceTrace, ...], str]:
        return self._watcher.devices(window, self._engines) if self._engines else ((), "")

    @property
    def _judges_energy(self) -> bool:
        return any(limit.definition.group == "energy" for limit in self.limits)

    def _settled(self, measurement: Measurement) -> Measurement:
        """With the levels after the test, once they have stood still."""
        memory = measurement.memory
        if memory is not None:
            level, reason = self._watcher.settle_memory(self._engines)
            memory = replace(memory, settled_bytes=level, settled_reason=reason)
        devices = []
        for trace in measurement.devices:
            level, reason = self._watcher.settle_device(trace.device.uuid, self._engines)
            devices.append(replace(trace, memory=replace(trace.memory, settled_bytes=level, settled_reason=reason)))
        return replace(measurement, memory=memory, devices=tuple(devices))

    def note_idle(self) -> None:
        """An engine has unloaded its model: what the engines hold once that has settled is the test's idle memory."""
        at = time.monotonic_ns()
        settled = self._settled(self._measure(Window(at, at + 1), None))
        self._idle = read_idle(settled)

    def _engine_readings(self, observed: Observed | None) -> Mapping[str, Reading]:
        stated = observed.readings if observed else {}
        return stated if self._idle is None else {**stated, "memory.idle": self._idle}


def _load_faults(loads: Sequence[Load]) -> tuple[str, ...]:
    """Why the loads of a test say nothing of its engine."""
    return tuple(load.fault for load in loads if load.fault)


def _engine_may_have_ended(measurement: Measurement) -> bool:
    """A process closes its connections, and gives back its memory, just before anybody can see that it has ended."""
    broken = any(request.error is not None and request.finish_reason is None for request in measurement.requests)
    return broken or bool(measurement.faults) or bool(measurement.memory and measurement.memory.fault)


class OpenWindow:
    """A part of a test, as ``with llm_perf.window("prefill") as w`` gives it; readable once it is closed."""

    def __init__(self, probe: Probe, name: str) -> None:
        self._probe = probe
        self.name = name
        self.window: Window | None = None

    @property
    def seconds(self) -> float:
        return self._closed().seconds

    @property
    def measurement(self) -> Measurement:
        """What happened inside the window."""
        return self._probe.snapshot().cut(self._closed())

    def read(self, name: str) -> Reading:
        """A metric inside the window, such as ``w.read("latency.ttft_p50")`` or ``w.read("memory.peak")``."""
        return read_metric(name, self.measurement)

    def _closed(self) -> Window:
        if self.window is None:
            raise RuntimeError(f"the window {self.name!r} is still open: read it after its with block")
        return self.window


def read_metric(name: str, measurement: Measurement) -> Reading:
    """A metric as it is limited: ``"memory.peak"``, ``"latency.ttft_p95"``.

    Raises:
        ValueError: there is no such metric.
    """
    group, _, key = name.partition(".")
    base, statistic = split_key(key)
    metric = METRICS.get(f"{group}.{base}")
    if metric is None or metric.distribution != (statistic is not None):
        raise ValueError(f"there is no metric {name!r}; it is written as in memory.peak or latency.ttft_p95")
    return read(metric.name, statistic, measurement)
