"""KV blocks and requests that tokens prove, on timelines written out by hand (times in milliseconds)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.kv_cache.proof import Proven, find_possible, prove_peak
from tests.helpers.streams import MS, stream, whole

if TYPE_CHECKING:
    from pytest_llmperf.measurement.request import RequestTiming


def tokens(first_ms: int, count: int, *, prompt: int, step_ms: int = 10, **fields: Any) -> RequestTiming:
    """A token every ``step_ms`` from ``first_ms`` on."""
    stamps = range(first_ms, first_ms + count * step_ms, step_ms)
    return stream(*stamps, counts=(1,) * count, prompt_tokens=prompt, output_tokens=count, **fields)


def test_requests_whose_tokens_come_by_turns_hold_their_blocks_together() -> None:
    together = [tokens(100 + i, 20, prompt=40, cached_tokens=0) for i in range(40)]
    # 40 of the prompt and 18 of the answer, without the last: 4 blocks of 16 each.
    assert prove_peak(together, 16, hits=0) == Proven(blocks=160, running=40)


def test_requests_one_after_another_do_not() -> None:
    apart = [tokens(100 + 200 * i, 20, prompt=40, cached_tokens=0) for i in range(5)]
    assert prove_peak(apart, 16, hits=0) == Proven(blocks=4, running=1)


def test_an_overlap_within_the_order_of_stamps_proves_nothing() -> None:
    first, second = tokens(100, 20, prompt=40), tokens(288, 20, prompt=40)
    assert prove_peak([first, second], 16, hits=0) == Proven(blocks=4, running=1)


def test_a_request_begins_with_its_first_token_and_not_when_it_is_sent() -> None:
    waiting = [tokens(100 + 1000 * i, 20, prompt=40, sent_ms=0) for i in range(5)]
    assert prove_peak(waiting, 16, hits=0).running == 1


def test_an_answer_that_came_all_at_once_proves_nothing() -> None:
    at_once = [stream(100, 100, counts=(1, 19), prompt_tokens=40, output_tokens=20) for _ in range(5)]
    assert prove_peak(at_once, 16, hits=0) == Proven(0, 0)


def test_shared_blocks_count_once() -> None:
    # 64 of the 70 tokens of each prompt are the same: 4 blocks of 16, beside 2 of its own.
    shared = [tokens(100 + i, 20, prompt=70, cached_tokens=64 if i else 0) for i in range(10)]
    assert prove_peak(shared[1:], 16, hits=9 * 64).blocks == 4 + 9 * 2
    assert prove_peak(shared, 16, hits=9 * 64).blocks == 6 + 9 * 2 + 4


@pytest.mark.parametrize(("hits", "blocks"), [(0, 60), (16 * 20, 40), (16 * 100, 6), (None, 6)])
def test_where_answers_do_not_say_what_they_shared_the_engines_count_bounds_it(hits: float | None, blocks: int) -> None:
    requests = [tokens(100 + i, 20, prompt=70, cached_tokens=None) for i in range(10)]
    assert prove_peak(requests, 16, hits) == Proven(blocks, running=10)


@pytest.mark.parametrize(
    "unknown",
    [
        stream(100, 300, output_tokens=9, prompt_tokens=900),
        whole(100, 300, output_tokens=9, prompt_tokens=900),
        stream(100, 300, counts=(1, 1), output_tokens=2),
        stream(prompt_tokens=900, output_tokens=0, error="cut"),
    ],
    ids=["chunks without counts", "not streamed", "unknown prompt", "failed"],
)
def test_requests_that_prove_nothing_are_left_out(unknown: RequestTiming) -> None:
    assert prove_peak([tokens(100, 20, prompt=40), unknown], 16, hits=0) == Proven(4, 1)


def test_without_requests_nothing_is_proven() -> None:
    assert prove_peak([], 16, None) == Proven(0, 0)


def test_what_may_have_been_held_is_that_of_all_who_were_on_their_way() -> None:
    ended, running = whole(0, 90, prompt_tokens=40, output_tokens=8), tokens(100, 20, prompt=40, sent_ms=50)
    assert find_possible([ended, running], 16, 60 * MS, 400 * MS) == 3 + 4
    assert find_possible([ended, running], 16, 95 * MS, 400 * MS) == 4
    # By 150 ms six tokens have come.
    assert find_possible([running], 16, 95 * MS, 150 * MS) == 3
    assert find_possible([running], 16, 500 * MS, 900 * MS) == 0
    assert find_possible([running, whole(0, 900)], 16, 60 * MS, 400 * MS) is None
