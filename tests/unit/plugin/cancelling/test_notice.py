"""When an engine was seen to work on a cancelled request no more: never too early, and never without a reason."""

from __future__ import annotations

import pytest

from pytest_llmperf.measurement.chunks import Chunk
from pytest_llmperf.measurement.reading import Missing
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.plugin.cancelling.notice import RunningLook, describe_cancelled, find_notice

MS = 1_000_000


def look(at_ms: int, running: int | Missing) -> RunningLook:
    """One that took a millisecond, up to this one."""
    return RunningLook((at_ms - 1) * MS, at_ms * MS, running)


def request(
    sent_ms: int, end_ms: int, *chunks_ms: int, cancelled: bool = True, tokens: int | None = 1
) -> RequestTiming:
    chunks = tuple(Chunk(at_ms * MS, "text", tokens) for at_ms in chunks_ms)
    return RequestTiming(
        sent_ms * MS, end_ms * MS, chunks, error="cancelled" if cancelled else None, cancelled=cancelled
    )


OURS = request(0, 100, 20, 40, 60)


@pytest.mark.parametrize(
    ("looks", "noticed_ms"),
    [
        ([look(50, 1), look(101, 1), look(106, 0), look(111, 0)], 106),
        ([look(50, 1), look(100, 0), look(105, 0)], 105),  # asked before the cancel
        ([look(105, 0)], 105),
    ],
)
def test_it_is_the_first_look_after_the_cancel_at_which_the_engine_is_idle(
    looks: list[RunningLook], noticed_ms: int
) -> None:
    found = find_notice(OURS, looks, [])
    assert isinstance(found, RunningLook)
    assert found.at_ns == noticed_ms * MS


@pytest.mark.parametrize(
    ("other", "noticed_ms"),
    [
        (request(10, 500, 30, cancelled=False), 105),  # it certainly runs, so that one is left to it
        (request(10, 500, 200, cancelled=False), 135),  # it may wait for its first token: the one may be ours
        (request(10, 103, 30, cancelled=False), 135),  # it has ended
    ],
)
def test_only_others_that_certainly_run_are_taken_off(other: RequestTiming, noticed_ms: int) -> None:
    found = find_notice(OURS, [look(102, 2), look(105, 1), look(135, 0)], [other])
    assert isinstance(found, RunningLook)
    assert found.at_ns == noticed_ms * MS


def test_a_retry_that_waits_for_its_first_token_is_not_taken_for_the_cancelled_one() -> None:
    retry = request(101, 900, 850, 860, cancelled=False)
    found = find_notice(OURS, [look(50, 1), look(106, 1), look(455, 1), look(855, 1)], [retry])
    assert isinstance(found, Missing)
    assert found.reason == (
        "for 0.749 s another request of the test waited for its first token, and the engine does not tell which one it "
        "worked on: send further ones after the block"
    )


@pytest.mark.parametrize(
    ("asked", "looks", "reason"),
    [
        (OURS, [], "the engine was not asked after the cancel"),
        (OURS, [look(50, 1)], "the engine was not asked after the cancel"),
        (OURS, [look(50, Missing("it says nothing"))], "it says nothing"),
        (OURS, [look(105, 1), look(1100, 2)], "the engine still worked on 2 requests 1 s after the cancel"),
        (
            request(0, 100),
            [look(50, 0), look(105, 0)],
            "it was cancelled before its first token, and the engine was not seen to work on it",
        ),
    ],
)
def test_what_was_not_seen_has_a_reason(asked: RequestTiming, looks: list[RunningLook], reason: str) -> None:
    assert find_notice(asked, looks, []) == Missing(reason)


def test_a_request_without_a_token_was_seen_if_the_engine_worked_on_it() -> None:
    assert isinstance(find_notice(request(0, 100), [look(50, 1), look(105, 0)], []), RunningLook)


def test_it_says_what_came_until_the_cancel_and_how_late_the_moment_may_be() -> None:
    found = describe_cancelled(OURS, [look(50, 1), look(96, 1), look(104, 1), look(131, 0)], [])
    assert (found.ttft, found.tokens, found.chunks, found.cancelled_after) == (0.02, 3, 3, 0.1)
    assert found.noticed_after == pytest.approx(0.031)
    assert (found.how.rpartition("; ")[2], found.reason) == ("late by 28.0 ms at most", "")


def test_tokens_that_are_not_stated_are_not_known() -> None:
    found = describe_cancelled(request(0, 100, 20, 40, tokens=None), [look(105, 0)], [])
    assert (found.tokens, found.chunks) == (None, 2)
    unseen = describe_cancelled(request(0, 100), [], [])
    assert (unseen.ttft, unseen.tokens, unseen.noticed_after) == (None, None, None)
