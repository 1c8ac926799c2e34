"""How long the threads of a running server may have waited for cores that others used, at any time of a test.

A server that waits for a core answers late, as one does that others use. Only what was measured tells the two apart.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.telemetry.host_state import compare_counters, subtract_times
from pytest_llmperf.telemetry.sources.host_counters import HostReader
from pytest_llmperf.telemetry.sources.thread_times import PERIOD_S, BranchTimes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.host.state import HostState
    from pytest_llmperf.telemetry.sources.branch import Branch
    from pytest_llmperf.telemetry.sources.host_counters import HostCounters

_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class CoreLook:
    """The host's processors at one moment, and what the server's threads have run and waited until then, in ns."""

    counters: HostCounters
    times: tuple[int, int] | None


@dataclass(frozen=True)
class CoreWaits:
    """What was seen of a test, in order of time; nothing if the server's threads cannot be seen."""

    looks: Sequence[CoreLook] = ()

    def find_most(self, start_ns: int, end_ns: int) -> int:
        """How long in ns, at most, work of the server stood still between two moments because others had the cores.

        Its threads waited for so long between the looks around them, added up. They cannot have waited for others
        longer than these used a core, or a quota kept the server from it; threads that wait for one another are the
        server's own matter. What a hypervisor took is seen by no thread, and comes on top. 0 if it is not known.
        """
        moments = [look.counters.at_ns for look in self.looks]
        first, last = max(0, bisect_right(moments, start_ns) - 1), bisect_left(moments, end_ns)
        if not moments or moments[first] >= end_ns or moments[-1] <= start_ns:
            return 0
        host = self._compare(first, min(last, len(moments) - 1))
        if host.threads is None:
            return 0
        others = float("inf") if host.other_cores is None else host.other_cores * host.seconds
        waited = min(host.threads.waited, others + (host.throttled_seconds or 0.0))
        return round((waited + _count_stolen_seconds(host)) * 1e9)

    def find_idle(self, start_ns: int, end_ns: int) -> int:
        """How long in ns, at most, the server did not run on all cores between two moments: all that time if unknown.

        Work that stood still did not run. What a hypervisor took may be among what threads count as run.
        """
        moments = [look.counters.at_ns for look in self.looks]
        first, last = bisect_left(moments, start_ns), bisect_right(moments, end_ns) - 1
        host = self._compare(first, last) if first < last else None
        if host is None or host.threads is None or not host.processors:
            return end_ns - start_ns
        ran = max(0.0, host.threads.ran - _count_stolen_seconds(host))
        return end_ns - start_ns - round(ran / host.processors * 1e9)

    def _compare(self, first: int, last: int) -> HostState:
        one, two = self.looks[first], self.looks[last]
        return compare_counters(one.counters, two.counters, subtract_times([one.times], [two.times]), "not told")


def _count_stolen_seconds(host: HostState) -> float:
    return (host.steal or 0.0) * (host.processors or 0) * host.seconds


NOTHING_SEEN = CoreWaits()


class CoreWatch:
    """Looks at the threads of these processes a few times a second until it is stopped."""

    def __init__(self, branches: Sequence[Branch]) -> None:
        self._pid = branches[0].root if branches else None
        self._looks: list[CoreLook] = []
        self._reader = HostReader()
        self._times = BranchTimes(lambda: tuple({pid: None for branch in branches for pid in branch.list_pids()}))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="llmperf-core-waits", daemon=True)
        if branches:
            self._look()
            self._thread.start()

    @property
    def waits(self) -> CoreWaits:
        """What was seen so far."""
        return CoreWaits(tuple(self._looks))

    def stop(self) -> None:
        """Returns when the last look is done, or is not in 10 s. May be called twice."""
        if self._pid is not None and not self._ended.is_set():
            self._ended.set()
            self._thread.join(_STOP_SECONDS)
            self._look()

    def _run(self) -> None:
        while not self._ended.wait(PERIOD_S):
            self._look()

    def _look(self) -> None:
        self._times.read()
        self._looks.append(CoreLook(self._reader.read_processors(self._pid), self._times.total))
