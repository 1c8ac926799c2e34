"""How long a server may have waited for cores that others used: from looks made by hand, and at a real process."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from pytest_llmperf.engines.attached.core_waits import NOTHING_SEEN, CoreLook, CoreWaits, CoreWatch
from pytest_llmperf.telemetry.sources.branch import Branch
from pytest_llmperf.telemetry.sources.host_counters import HostCounters, ProcessorTimes, Throttling
from tests.helpers.waiting import PATIENCE_S, until

MS = 1_000_000


def look(
    at_ms: int, *, ran: int, waited: int, busy: int, steal: int = 0, throttled: int = 0, processors: int = 2
) -> CoreLook:
    """The server's threads have run and waited, and all processors were busy, for so many ms until then."""
    times = ProcessorTimes(processors, busy / 1e3, steal / 1e3, processors * at_ms / 1e3)
    throttling = {"/engine": Throttling(at_ms // 100, throttled // 100, throttled / 1e3)}
    return CoreLook(HostCounters(at_ms * MS, times, throttling=throttling), (ran * MS, waited * MS))


def make_looks(until_ms: int, **each: int) -> CoreWaits:
    """Looks every 250 ms, between which the same happens."""
    numbers = range(until_ms // 250 + 1)
    return CoreWaits([look(n * 250, **{name: n * value for name, value in each.items()}) for n in numbers])


@pytest.mark.parametrize(
    ("each", "most"),
    [
        # Others use both cores: what the threads have waited, from the look before to the one after.
        ({"ran": 20, "waited": 200, "busy": 500}, 600),
        # Others use little: they have waited for one another.
        ({"ran": 480, "waited": 900, "busy": 500}, 60),
        ({"ran": 480, "waited": 900, "busy": 480}, 0),
        # A quota keeps them from cores that are free.
        ({"ran": 100, "waited": 200, "busy": 100, "throttled": 150}, 450),
        # A hypervisor takes the cores away from threads that run.
        ({"ran": 100, "waited": 0, "busy": 100, "steal": 50}, 150),
    ],
)
def test_the_most_that_others_can_have_held_it_up(each: dict[str, int], most: int) -> None:
    found = make_looks(2000, **each).find_most(1010 * MS, 1740 * MS)
    assert found == pytest.approx(most * MS)


def test_only_the_looks_around_a_time_count() -> None:
    starved = [look(n * 250, ran=0, waited=200 * (n >= 6), busy=500 * n) for n in range(9)]
    assert CoreWaits(starved).find_most(1000 * MS, 1240 * MS) == 0
    assert CoreWaits(starved).find_most(1200 * MS, 1300 * MS) == 200 * MS
    assert CoreWaits(starved).find_most(0, 9000 * MS) == 200 * MS


@pytest.mark.parametrize("times", [(-500, -100), (2001, 2500)])
def test_of_a_time_without_looks_nothing_is_known(times: tuple[int, int]) -> None:
    waits = make_looks(2000, ran=0, waited=200, busy=500)
    assert waits.find_most(*(ms * MS for ms in times)) == 0
    assert NOTHING_SEEN.find_most(*(ms * MS for ms in times)) == 0


def test_without_the_times_of_threads_nothing_is_known() -> None:
    waits = CoreWaits([CoreLook(HostCounters(n * 250 * MS), None) for n in range(9)])
    assert waits.find_most(0, 2000 * MS) == 0


@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="reads the waiting of threads")
def test_a_server_that_shares_its_core_with_others_has_waited() -> None:
    core = min(os.sched_getaffinity(0))
    busy = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    crowd = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(3)]
    try:
        began = time.monotonic_ns()
        watch = CoreWatch([Branch(crowd[0].pid)])
        until(lambda: watch.waits.find_most(began, time.monotonic_ns()) > 200 * MS)
        watch.stop()
        watch.stop()
    finally:
        for process in crowd:
            process.kill()
            process.wait(PATIENCE_S)


def test_a_server_that_cannot_be_seen_is_not_looked_at() -> None:
    watch = CoreWatch([])
    watch.stop()
    assert watch.waits == NOTHING_SEEN
