"""When vLLM's counters of times are those of the test's requests, and what they say then."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.engines.vllm.clock import compare_clocks
from pytest_llmperf.measurement.server_clock import StreamTimes
from tests.helpers.streams import stream, whole

ONE = stream(100, 110, 120, counts=(1, 1, 1), output_tokens=3)
RISES = {
    "generation_tokens": 6.0,
    "ttft_requests": 2.0,
    "ttft_seconds": 0.15,
    "decode_gaps": 4.0,
    "decode_gap_seconds": 0.03,
    "decode_seconds": 0.04,
}


def test_both_clocks_sum_the_same_requests() -> None:
    clock = compare_clocks(RISES, [ONE, ONE])
    assert clock is not None
    assert clock.server == StreamTimes(2, 0.15, 0.03, 4)
    assert clock.client == StreamTimes(2, 0.2, 0.04, 4)


def test_a_version_that_counts_no_gaps_has_the_time_of_whole_answers() -> None:
    older = {key: value for key, value in RISES.items() if not key.startswith("decode_gap")}
    clock = compare_clocks(older, [ONE, ONE])
    assert clock is not None
    assert clock.server == StreamTimes(2, 0.15, 0.04, 0)


def test_where_nothing_was_streamed_or_no_time_is_counted_there_is_nothing_to_compare() -> None:
    assert compare_clocks(RISES, [whole(0, 100, output_tokens=3)]) is None
    assert compare_clocks(RISES, []) is None
    assert compare_clocks({"generation_tokens": 6.0}, [ONE, ONE]) is None


@pytest.mark.parametrize(
    ("request_", "changed", "reason"),
    [
        (whole(0, 100, output_tokens=3), {}, "1 of 2 answers were not streamed"),
        (stream(100, output_tokens=3, error="cut"), {}, "1 of 2 requests failed"),
        (stream(100, 110), {}, "the tokens of 1 of 2 answers were not counted"),
        (ONE, {"ttft_requests": 3.0}, "the server counts 3 first tokens, and the test sent 2 requests"),
        (ONE, {"generation_tokens": 9.0}, "the server generated 9 tokens, and the client saw 6"),
    ],
)
def test_counters_that_are_not_the_tests_alone_are_not_compared(
    request_: Any, changed: dict[str, float], reason: str
) -> None:
    clock = compare_clocks({**RISES, **changed}, [ONE, request_])
    assert clock is not None
    assert (clock.server, clock.client, clock.reason) == (None, None, reason)
