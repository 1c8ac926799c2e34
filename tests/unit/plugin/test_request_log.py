from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import pytest

from pytest_llmperf.measurement.load import Load
from pytest_llmperf.measurement.prompts import Prompt
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.plugin.measuring.forked_calls import ForkedCall, ForkedCalls
from pytest_llmperf.plugin.measuring.left_overs import LOAD, REQUEST, LeftOvers, Owner
from pytest_llmperf.plugin.measuring.request_log import RequestLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_llmperf.engines.api.engine import Engine

OWNER = Owner("test_it.py::test_it")
# Python 3.12 and newer warn of the threads that tests before may have left.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
ENGINE = cast("Engine", object())
SENT, OTHER = (Prompt.of([(text, True)]) for text in ("sent", "other"))


class Request:
    def describe_so_far(self, at_ns: int, error: str) -> RequestTiming:
        return RequestTiming(1, at_ns, error=error, prompt=SENT)


class Log(RequestLog):
    def __init__(self) -> None:
        self.left = LeftOvers()
        self.remembered: list[Prompt | None] = []
        self.forked = ForkedCalls()
        super().__init__(OWNER, self.left, self.note, self.forked)

    def note(self, engine: Engine, prompts: Iterable[Prompt | None]) -> None:
        assert engine is ENGINE
        self.remembered += prompts


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    log.open()
    yield log
    log.forked.close()


def fork(work: Callable[[], None]) -> None:
    """Does some work in a forked process, and waits for its end."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def test_a_request_in_flight_at_the_end_has_its_prompt(log: Log) -> None:
    end = log.begin(ENGINE, Request())
    log.close(5)
    ((_, timing),) = log.requests
    assert (timing.prompt, timing.end_ns, bool(timing.error)) == (SENT, 5, True)
    end(RequestTiming(1, 9, prompt=SENT))
    assert len(log.requests) == 1


def test_a_request_that_counts_for_no_test_has_a_prompt_all_the_same(log: Log) -> None:
    log.begin(ENGINE, Request())
    log.open()
    assert log.remembered == [SENT]
    log.close(5)
    log.remembered.clear()
    end = log.begin(ENGINE, Request())
    assert log.remembered == [SENT]  # at once: the next test may begin before it ends
    end(None)
    assert log.requests == []


def test_a_load_tells_its_prompts_when_it_is_left_and_when_it_ends(log: Log) -> None:
    prompts: list[Prompt | None] = [SENT]
    end = log.begin_load(ENGINE, "a load", lambda: prompts)
    log.close(5)
    assert log.remembered == [SENT]
    prompts.append(OTHER)
    (left,) = log.left.find_running(Window(1, 2**62))
    assert list(left.list_prompts()) == [SENT, OTHER]
    end(Load("a load", None), [RequestTiming(1, 9, prompt=SENT)])
    assert log.remembered == [SENT, SENT, OTHER]
    assert log.requests == []


def test_a_load_whose_timings_are_lost_has_sent_its_prompts(log: Log) -> None:
    end = log.begin_load(ENGINE, "a load", lambda: [SENT])
    end(Load("a load", None, fault="killed"), ())
    assert log.remembered == [SENT]


def test_what_a_forked_process_begins_is_carried_to_this_one(log: Log) -> None:
    log.forked.know(ENGINE)

    def ask() -> None:
        prompts: list[Prompt | None] = []
        log.begin(ENGINE, Request())(RequestTiming(1, 9))
        end = log.begin_load(ENGINE, "a load", lambda: prompts)
        prompts.append(OTHER)
        end(Load("a load", None), ())

    for _ in range(2):
        fork(ask)
        found = log.forked.take()
        assert [(call.owner, call.kind, call.prompts) for call in found] == [
            (OWNER, REQUEST, (SENT,)),
            (OWNER, LOAD, ()),
            (OWNER, "", (OTHER,)),
        ]
        assert {log.forked.find_engine(call) for call in found} == {ENGINE}
    assert (log.requests, log.loads, log.forked.take()) == ([], [], [])


def test_an_engine_that_only_the_forked_process_knows_is_none_here() -> None:
    forked = ForkedCalls()

    def ask() -> None:
        forked.know(ENGINE)
        forked.note(OWNER, REQUEST, ENGINE, 1, ())

    fork(ask)
    (call,) = forked.take()
    assert call == ForkedCall(OWNER, REQUEST, 0, 1, ())
    assert forked.find_engine(call) is None
    forked.close()
