"""How late a client was, on clocks that are set by hand, and beside threads that hold the interpreter."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.traffic.client import lag
from pytest_llmperf.traffic.client.dialect import Endpoint
from pytest_llmperf.traffic.client.lag import Beat, Lateness, LoopBeat, ThreadBeat
from pytest_llmperf.traffic.llm_client import LLMClient
from tests.helpers.hostile_server import HostileServer, Reply, event, text, usage
from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_llmperf.measurement.request import RequestTiming

MS = 1_000_000


class Clock:
    """The time, which moves only by hand."""

    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns


class HandBeat(Beat):
    """Runs when it is told to."""

    def _begin(self) -> None:
        pass

    def run_at(self, clock: Clock, ms: float) -> None:
        clock.now_ns = round(ms * MS)
        self._run()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lag, "time", clock)
    return clock


@dataclass
class Request:
    sent_ns: int = 0
    end_ns: int = 0
    seen_sending_ns: int | None = None
    seen_reading_ns: int | None = None
    late: Lateness | None = None


def test_a_beat_in_time_is_no_lag(clock: Clock) -> None:
    beat = HandBeat()
    beat.start()
    for ms in (5, 10.5, 16, 21):
        beat.run_at(clock, ms)
    assert beat.find_worst(0, 21 * MS) == 0


def test_a_request_is_late_by_the_latest_beat_that_was_due_while_it_ran(clock: Clock) -> None:
    beat = HandBeat()
    beat.start()
    for ms in (5, 30, 35, 140, 145):  # due at 5, 10, 35, 40, 145
        beat.run_at(clock, ms)
    assert beat.find_worst(0, 9 * MS) == 0
    assert beat.find_worst(0, 11 * MS) == 20 * MS
    assert beat.find_worst(29 * MS, 36 * MS) == 20 * MS
    assert beat.find_worst(31 * MS, 60 * MS) == 100 * MS
    assert beat.find_worst(141 * MS, 145 * MS) == 0


def test_a_beat_that_is_due_and_has_not_run_counts(clock: Clock) -> None:
    beat = HandBeat()
    beat.start()
    clock.now_ns = 50 * MS
    assert beat.find_worst(0, 40 * MS) == 45 * MS
    assert beat.find_worst(0, 4 * MS) == 0


def test_requests_share_a_beat_that_forgets_when_the_last_has_ended(clock: Clock) -> None:
    beat = HandBeat()
    one, other = Request(), Request(sent_ns=20 * MS)
    with beat.beside(one):
        with beat.beside(other):
            beat.run_at(clock, 30)
            one.end_ns = other.end_ns = 31 * MS
        assert other.late == Lateness(25 * MS, 25 * MS)
    assert one.late == Lateness(25 * MS, 25 * MS)
    clock.now_ns = 1000 * MS
    later = Request(sent_ns=1000 * MS, end_ns=1001 * MS)
    with beat.beside(later):
        pass
    assert later.late == Lateness(0, 0)


def test_what_was_measured_at_the_socket_is_better_than_the_beat(clock: Clock) -> None:
    beat = HandBeat()
    request = Request(end_ns=40 * MS, seen_sending_ns=3 * MS)
    with beat.beside(request):
        beat.run_at(clock, 30)
        request.seen_reading_ns = 1 * MS
    assert request.late == Lateness(3 * MS, 1 * MS)


def test_a_server_that_is_slow_to_accept_or_to_read_is_no_lag_of_the_client(clock: Clock) -> None:
    """The kernel tries a connection again after a second, and a large request waits for what the server reads."""
    beat = HandBeat()
    request = Request(end_ns=2000 * MS, seen_sending_ns=1015 * MS, seen_reading_ns=0)
    with beat.beside(request):
        for ms in (5, 13, 18):
            beat.run_at(clock, ms)
        clock.now_ns = 23 * MS
    assert request.late == Lateness(30 * MS, 0)


# --------------------------------------------------------------------------------------------------- real clocks


def test_a_blocked_event_loop_is_late() -> None:
    async def block() -> int:
        beat = LoopBeat()
        beat.start()
        began = time.monotonic_ns()
        time.sleep(0.1)
        worst = beat.find_worst(began, time.monotonic_ns())
        beat.stop()
        return worst

    assert asyncio.run(block()) > 90 * MS


def test_a_thread_that_holds_the_interpreter_makes_others_late() -> None:
    beat = ThreadBeat()
    beat.start()
    began = time.monotonic_ns()
    with holding_the_interpreter():
        until(lambda: beat.find_worst(began, time.monotonic_ns()) > 3 * MS)
    beat.stop()


class holding_the_interpreter:  # noqa: N801
    """While it lasts, another thread computes in Python."""

    def __enter__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._compute)
        self._thread.start()

    def _compute(self) -> None:
        while not self._ended.is_set():
            sum(range(2000))

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(PATIENCE_S)


@pytest.fixture
def client() -> Iterator[LLMClient]:
    words = [event(text(" w", usage={"completion_tokens": n + 1, "prompt_tokens": 3})) for n in range(3)]
    tail = b"".join(map(event, (text("", "length"), usage(3), "[DONE]")))

    def answer(_: object) -> Reply:
        return Reply([0.05, words[0], 0.05, *words[1:], tail])

    with HostileServer(answer).running() as server, LLMClient(Endpoint(server.url, "tiny")) as client:
        yield client


async def gather(client: LLMClient) -> list[RequestTiming]:
    answers = await asyncio.gather(client.agenerate("x", max_tokens=3), client.achat("x", max_tokens=3))
    return [answer.timing for answer in answers]


def ask_in_every_way(client: LLMClient) -> list[RequestTiming]:
    found = [client.generate("x", max_tokens=3).timing, client.chat("x", max_tokens=3).timing]
    found += asyncio.run(gather(client))
    return found + [answer.timing for answer in client.run(["x", "y"], concurrency=2, max_tokens=3)]


def test_every_way_to_ask_says_how_late_it_may_have_been(client: LLMClient) -> None:
    lags = [timing.lag for timing in ask_in_every_way(client)]
    assert [found and found.way for found in lags] == ["call"] * 4 + ["list"] * 2


def test_beside_a_thread_that_holds_the_interpreter_requests_were_late(client: LLMClient) -> None:
    late: set[int] = set()  # the places in the list at which a request was late once

    def find_all_late() -> bool:
        lags = [timing.lag for timing in ask_in_every_way(client)]
        late.update(place for place, found in enumerate(lags) if found is not None and found.seconds > 0.002)
        return len(late) == len(lags)

    with holding_the_interpreter():  # a host without a free core keeps the other thread from it for a while
        until(find_all_late)
