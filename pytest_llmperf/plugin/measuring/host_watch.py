"""Looks at the host at the edges of a test, and says what it did in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.telemetry.host_state import compare_counters, subtract_times
from pytest_llmperf.telemetry.sources.host_counters import HostReader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.host.state import HostState
    from pytest_llmperf.measurement.window import Window
    from pytest_llmperf.plugin.measuring.engine_telemetry import EngineTelemetry
    from pytest_llmperf.telemetry.sources.host_counters import HostCounters

_NOT_TOLD = "this system does not tell how long threads wait for a core"


@dataclass(frozen=True)
class _Look:
    """The host at one moment: its counters, with those of an engine's cgroup, and the times of the engine's threads."""

    counters: HostCounters
    times: Mapping[int, tuple[int, int] | None]


class HostWatch:
    """The host over one test, for each of its engines."""

    def __init__(self, telemetry: EngineTelemetry) -> None:
        self._telemetry = telemetry
        self._reader = HostReader()
        self._before: dict[Engine, _Look] = {}
        self._after: dict[Engine, _Look] = {}

    def begin(self, engines: Sequence[Engine]) -> None:
        """Looks at the host at the beginning of the test, or when an engine joins it."""
        self._after.clear()
        self._before.update({engine: self._look(engine) for engine in engines})

    def look(self, engines: Sequence[Engine]) -> None:
        """Looks at the host now, which may be the end of the test."""
        self._after = {engine: self._look(engine) for engine in engines if engine in self._before}

    def _look(self, engine: Engine) -> _Look:
        pid = next(iter(engine.deployment.pids), None)
        return _Look(self._reader.read(pid), self._telemetry.read_thread_times(engine))

    def compare(self, engines: Sequence[Engine], window: Window) -> HostState | None:
        """The host from the first look to the last one, with the threads of these engines; None without two looks."""
        seen = [engine for engine in engines if engine in self._before and engine in self._after]
        if not seen:
            return None
        why = next(filter(None, (self._telemetry.why_threads_unseen(engine, window) for engine in engines)), "")
        before = {key: times for engine in seen for key, times in self._before[engine].times.items()}
        after = {key: times for engine in seen for key, times in self._after[engine].times.items()}
        threads = None if why else subtract_times([before.get(key) for key in after], list(after.values()))
        first = seen[0]
        return compare_counters(self._before[first].counters, self._after[first].counters, threads, why or _NOT_TOLD)
