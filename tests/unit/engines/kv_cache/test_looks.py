"""KV cache held and wasted, on timelines written out by hand (times in milliseconds)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.kv_cache.looks import KVPoll, KVPool, compute_waste, count_blocks_alone, find_longest_gap
from pytest_llmperf.measurement.reading import Reading
from tests.helpers.streams import MS, stream, whole

if TYPE_CHECKING:
    from pytest_llmperf.measurement.request import RequestTiming


def poll(at_ms: int, blocks: int, running: float = 1, waiting: float = 0) -> KVPoll:
    return KVPoll(at_ms * MS, blocks, running, waiting)


# 10 tokens of prompt, then one more token at 100, 200 and 300 ms.
ONE = stream(100, 200, 300, counts=(1, 1, 1), prompt_tokens=10, output_tokens=3)


def test_what_tokens_do_not_fill_of_the_blocks_handed_out_is_waste() -> None:
    assert compute_waste([poll(150, 1)], [ONE], 16) == Reading(
        1 - 11 / 16, "blocks of 16 tokens; mean of 1 looks", samples=1
    )
    assert compute_waste([poll(250, 1)], [ONE], 16).value == 1 - 12 / 16


def test_it_is_the_mean_over_the_looks_weighed_by_the_room() -> None:
    assert compute_waste([poll(150, 1), poll(250, 3)], [ONE], 16) == Reading(
        1 - 23 / 64, "blocks of 16 tokens; mean of 2 looks", samples=2
    )


def test_requests_that_run_together_hold_theirs_together() -> None:
    other = stream(120, 400, counts=(4, 4), prompt_tokens=2, output_tokens=8)
    assert compute_waste([poll(150, 2, running=2)], [ONE, other], 16).value == 1 - 17 / 32


def test_looks_at_which_somebody_else_runs_do_not_count() -> None:
    assert compute_waste([poll(150, 1), poll(160, 9, running=2)], [ONE], 16).value == 1 - 11 / 16


def test_looks_before_the_first_token_and_after_the_last_do_not_count() -> None:
    assert compute_waste([poll(50, 1), poll(350, 1)], [ONE], 16).reason == (
        "no look at the engine fell into a time when only requests ran that had begun to answer"
    )


def test_a_look_during_which_many_tokens_came_does_not_count() -> None:
    quick, slow = replace(poll(150, 1), took_ns=90 * MS), replace(poll(250, 9), took_ns=160 * MS)
    burst = stream(100, 200, 201, 400, counts=(1, 20, 20, 1), prompt_tokens=10, output_tokens=42)
    assert compute_waste([quick, slow], [burst], 16).samples == 1
    assert compute_waste([slow], [burst], 16).value is None
    assert compute_waste([replace(slow, took_ns=90 * MS)], [burst], 16).value is not None


def test_more_tokens_than_room_is_no_waste() -> None:
    assert compute_waste([poll(150, 1)], [ONE], 4).value == 0


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (whole(0, 100, prompt_tokens=3, output_tokens=3), "answers were not streamed: use stream=True"),
        (
            stream(100, 200, counts=(1, 1), prompt_tokens=20, cached_tokens=16),
            "requests shared cached blocks: whose tokens a block holds is not known",
        ),
        (
            stream(100, 200, output_tokens=9, prompt_tokens=20),
            "the server did not say how many tokens each request held over time",
        ),
        (
            stream(100, 200, counts=(1, 1), output_tokens=2),
            "the server did not say how many tokens each request held over time",
        ),
    ],
)
def test_without_counts_over_time_there_is_no_telling(request_: RequestTiming, why: str) -> None:
    assert compute_waste([poll(150, 1)], [request_], 16) == Reading.missing(why)


def test_without_requests_there_is_nothing_to_waste() -> None:
    assert compute_waste([poll(150, 0)], [], 16) == Reading.missing("the test sent no request through llm_client")


@pytest.mark.parametrize(
    ("looks", "last_ms", "unseen_ms"),
    [
        ((50, 100, 150), 200, 0),
        ((), 240, 0),  # short, and seen by none: that has a reason of its own
        ((50, 900), 1000, 850),
        ((50, 100), 1000, 900),  # up to the end as well
        ((900, 950), 1000, 900),  # and from the beginning
        ((-900, 100, 300, 500, 700, 900, 1900), 1000, 0),
        (tuple(range(0, 9000, 50)), 9400, 0),  # 0.45 s of 9.4 s
    ],
)
def test_a_long_time_without_a_look_is_told(looks: tuple[int, ...], last_ms: int, unseen_ms: int) -> None:
    request = stream(last_ms, counts=(1,), prompt_tokens=10, output_tokens=1)
    assert find_longest_gap([poll(at, 1) for at in looks], [request]) == unseen_ms * MS
    assert find_longest_gap([poll(at, 1) for at in looks], []) == 0


def test_requests_one_after_another_tell_the_peak_by_their_own_counts() -> None:
    first = whole(0, 100, prompt_tokens=30, output_tokens=3)
    longer = whole(100, 200, prompt_tokens=30, output_tokens=4)
    assert count_blocks_alone([longer, first], 32) == 2
    assert count_blocks_alone([first], 32) == 1
    assert count_blocks_alone([], 32) == 0
    assert count_blocks_alone([first, whole(99, 200, prompt_tokens=30, output_tokens=4)], 32) == 0
    assert count_blocks_alone([first, whole(100, 200, prompt_tokens=30)], 32) == 0
    assert count_blocks_alone([first, whole(100, 200, prompt_tokens=30, output_tokens=4, error="cut")], 32) == 0


def test_a_pool_knows_what_a_block_takes() -> None:
    assert KVPool(128, 32, 8 * 2**20).block_bytes == 65536
    assert KVPool(128, 32).block_bytes is None
