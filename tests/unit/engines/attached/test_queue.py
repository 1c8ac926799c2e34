from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_llmperf.engines.attached.core_waits import CoreLook, CoreWaits
from pytest_llmperf.engines.attached.queue import explain_queue
from pytest_llmperf.measurement.request import RequestTiming, ServerTimes
from pytest_llmperf.telemetry.sources.host_counters import HostCounters, ProcessorTimes

MS = 1_000_000


def request(sent_ms: int, queue_ms: int, answering_ms: int = 1000) -> RequestTiming:
    total = queue_ms + answering_ms + 2
    times = ServerTimes(startup=2 * MS, prompt=40 * MS, decode=(answering_ms - 40) * MS, total=total * MS)
    return RequestTiming(sent_ms * MS, (sent_ms + total) * MS, server=times)


@pytest.mark.parametrize(
    ("requests", "slots", "others"),
    [
        ([request(0, 2), request(1100, 3)], 1, False),
        ([request(0, 602), request(2000, 3)], 1, True),
        # Its own requests wait for each other.
        ([request(0, 2), request(1, 1000), request(2, 2000)], 1, False),
        ([request(0, 2), request(1, 602)], 2, True),
        ([request(0, 2), request(1, 2), request(2, 602)], 2, False),
        # The one before was given up by its client, and takes its slot for a moment longer.
        ([request(0, 2), request(1200, 400)], 1, False),
        # Between two of its requests others had the only slot, for longer than the one before can have had it.
        ([request(0, 2), request(1010, 2), request(2020, 580, answering_ms=200)], 1, False),
        ([request(0, 2), request(1900, 2), request(3400, 602, answering_ms=200)], 1, True),
        ([request(0, 2), replace(request(1900, 2), error="timed out"), request(3400, 602, answering_ms=200)], 1, False),
        # Long prompts and busy hosts.
        ([request(0, 90)], 1, False),
        ([request(0, 900, answering_ms=20_000)], 1, False),
        ([RequestTiming(0, 700 * MS)], 1, False),
        ([RequestTiming(0, 700 * MS, server=ServerTimes(prompt=1))], 1, False),
        ([], 1, False),
    ],
)
def test_a_wait_that_the_tests_own_requests_do_not_explain(
    requests: list[RequestTiming], slots: int, others: bool
) -> None:
    found = explain_queue(requests, slots)
    assert bool(found) == others
    if others:
        assert found.startswith(f"others used the server: 1 of {len(requests)} requests waited up to 602 ms for a ")


def turns(*, between_ms: int, answering_ms: int = 400, number: int = 4) -> list[RequestTiming]:
    """Requests that are sent together and answered one after another, with so much time between two answers."""
    found = []
    for turn in range(number):
        queue_ms = turn * (answering_ms + between_ms)
        found.append(request(turn, queue_ms - turn, answering_ms))
    return found


@pytest.mark.parametrize(
    ("requests", "slots", "share"),
    [
        (turns(between_ms=5), 1, ""),
        (turns(between_ms=90), 1, ""),
        (turns(between_ms=400), 1, "60 %"),
        # Short answers on a busy host: most of the time goes into what is between them.
        (turns(between_ms=60, answering_ms=60, number=20), 1, ""),
    ],
)
def test_time_that_was_lost_while_the_tests_own_requests_waited_for_each_other(
    requests: list[RequestTiming], slots: int, share: str
) -> None:
    found = explain_queue(requests, slots)
    assert bool(found) == bool(share)
    assert share in found


def make_host(*, others: float, waited: float, ran: float = 0.5) -> CoreWaits:
    """Looks at a host of two cores, of which others used so many, and at a server whose threads ran and waited so long.

    Both are shares of the time; threads that wait at the same time are added up.
    """
    looks = []
    for at_ms in range(0, 10_000, 250):
        times = ProcessorTimes(2, (ran + others) * at_ms / 1e3, 0.0, 2 * at_ms / 1e3)
        looks.append(CoreLook(HostCounters(at_ms * MS, times), (round(ran * at_ms * MS), round(waited * at_ms * MS))))
    return CoreWaits(looks)


QUIET, BUSY = make_host(others=0.1, waited=0.1), make_host(others=1.5, waited=2.0)
SHARED = make_host(others=0.5, waited=0.4)
WORKING = make_host(others=1.1, waited=1.1, ran=0.9)
STANDING = make_host(others=2.0, waited=2.0, ran=0.05)
# More threads than cores: they wait for one another.
OWN_THREADS = make_host(others=0.1, waited=3.0)


@pytest.mark.parametrize(
    ("requests", "host", "others"),
    [
        ([request(0, 2), request(2000, 211)], QUIET, True),
        ([request(0, 2), request(2000, 211)], OWN_THREADS, True),
        ([request(0, 2), request(2000, 211)], BUSY, False),
        # Between two requests that follow each other closely.
        ([request(0, 2), request(1010, 3000)], QUIET, True),
        ([request(0, 2), request(1010, 3000)], BUSY, False),
        # The server ran for longer than it answered.
        ([request(0, 2), request(2000, 7000)], WORKING, True),
        ([request(0, 2), request(2000, 7000)], STANDING, False),
        ([request(0, 2), request(1010, 7000)], WORKING, True),
        # What it ran may have been for another one of the test.
        ([request(0, 2), request(2000, 7000), request(2000, 2)], WORKING, False),
        # Longer than the host can have held it up.
        ([request(0, 2), request(2000, 180)], SHARED, False),
        ([request(0, 2), request(2000, 1000)], SHARED, True),
        (turns(between_ms=400), QUIET, True),
        (turns(between_ms=400), OWN_THREADS, True),
        (turns(between_ms=400), BUSY, False),
    ],
)
def test_what_a_busy_host_explains_is_no_wait_for_others(
    requests: list[RequestTiming], host: CoreWaits, others: bool
) -> None:
    assert bool(explain_queue(requests, 1, host)) == others
