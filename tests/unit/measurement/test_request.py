"""Streams written out by hand, against the definitions of the latencies of a request."""

from __future__ import annotations

import pytest

from pytest_llmperf.measurement.chunks import Chunk
from pytest_llmperf.measurement.request import RequestTiming
from tests.helpers.streams import MS, stream


def test_latency_counts_from_the_scheduled_moment_where_there_is_one() -> None:
    assert RequestTiming(5, 9).start_ns == 5
    assert RequestTiming(5, 9, scheduled_ns=2).start_ns == 2
    assert RequestTiming(5, 9, scheduled_ns=0).start_ns == 0


def test_four_tokens_one_by_one() -> None:
    request = stream(100, 120, 150, 160, output_tokens=4)
    assert request.ttft == 0.1
    assert request.ttft_answer == 0.1
    assert request.e2e == 0.16
    assert request.chunk_gaps == [0.02, 0.03, 0.01]
    assert request.itl == [0.02, 0.03, 0.01]
    assert request.tpot == 0.02


def test_the_end_of_a_request_is_its_last_token_and_not_the_usage_that_follows() -> None:
    request = stream(100, 120, output_tokens=2, end_ns=900 * MS)
    assert request.e2e == 0.12


def test_in_an_open_loop_latency_counts_from_the_scheduled_moment() -> None:
    request = stream(500, 520, sent_ms=400, scheduled_ns=100 * MS, output_tokens=2)
    assert (request.ttft, request.ttft_answer, request.e2e) == (0.4, 0.4, 0.42)
    assert request.tpot == 0.02


def test_an_end_of_sequence_token_that_is_counted_and_not_shown_is_no_gap_of_its_own() -> None:
    request = stream(100, 120, 150, 160, output_tokens=5, finish_reason="stop")
    assert request.tokens_per_chunk == [1, 1, 1, 1]
    assert request.tpot == 0.02
    assert request.itl == [0.02, 0.03, 0.01]


def test_an_answer_cut_at_its_length_has_no_end_of_sequence_token_so_one_chunk_held_two_tokens() -> None:
    request = stream(100, 120, output_tokens=3, finish_reason="length")
    assert request.tokens_per_chunk is None
    assert request.itl is None
    assert request.tpot == pytest.approx(0.02 / 1.5)


def test_four_tokens_in_a_chunk_with_the_servers_counts() -> None:
    request = stream(100, 140, 180, counts=(4, 4, 4), output_tokens=12)
    assert request.tpot == 0.01
    assert request.itl == [0, 0, 0, 0.04, 0, 0, 0, 0.04, 0, 0, 0]
    assert request.chunk_gaps == [0.04, 0.04]


def test_four_tokens_in_a_chunk_without_counts_give_a_mean_but_no_gaps() -> None:
    request = stream(100, 140, 180, output_tokens=12)
    assert request.tokens_per_chunk is None
    assert request.tpot == 0.01
    assert request.itl is None
    assert request.chunk_gaps == [0.04, 0.04]


def test_the_counts_of_the_chunks_are_trusted_over_an_even_share() -> None:
    request = stream(100, 140, 180, counts=(1, 4, 4), output_tokens=9)
    assert request.tpot == 0.01
    assert request.itl == [0.04, 0, 0, 0, 0.04, 0, 0, 0]


def test_counts_on_some_chunks_only_are_not_used() -> None:
    request = RequestTiming(0, 0, (Chunk(100 * MS, tokens=1), Chunk(140 * MS)), output_tokens=8)
    assert request.tokens_per_chunk is None
    assert request.tpot == 0.01


def test_two_chunks_of_one_token_give_one_gap_and_no_time_is_lost() -> None:
    request = stream(100, 110, 130, 150, counts=(1, 1, 0, 1), output_tokens=3)
    assert request.itl == [0.01, 0.04]
    assert request.tpot == 0.025


def test_a_server_that_sends_more_chunks_than_tokens_does_not_make_the_first_one_a_fraction() -> None:
    request = stream(100, 110, 120, 130, 140, output_tokens=3)
    assert request.itl is None
    assert request.tpot == 0.02


def test_the_gaps_of_an_answer_add_up_to_its_span_and_to_one_less_than_its_tokens() -> None:
    request = stream(100, 103, 140, 141, 200, counts=(3, 1, 5, 2, 4), output_tokens=15)
    gaps = request.itl
    assert gaps is not None
    assert len(gaps) == 14
    assert sum(gaps) == pytest.approx(0.1)


def test_reasoning_is_the_first_token_but_not_the_first_token_of_the_answer() -> None:
    request = stream(50, 60, 90, 100, kinds=("reasoning", "reasoning", "text", "text"), output_tokens=4)
    assert request.ttft == 0.05
    assert request.ttft_answer == 0.09
    assert request.e2e == 0.1
    assert request.itl == [0.01, 0.03, 0.01]


def test_a_tool_call_is_an_answer() -> None:
    assert stream(50, 80, kinds=("reasoning", "tool"), output_tokens=2).ttft_answer == 0.08


def test_reasoning_without_an_answer_has_no_time_to_the_answer() -> None:
    request = stream(50, 60, kinds=("reasoning", "reasoning"), output_tokens=2)
    assert request.ttft == 0.05
    assert request.ttft_answer is None


@pytest.mark.parametrize("tokens", [1, 2, 8])
def test_an_answer_of_one_chunk_has_no_time_per_output_token(tokens: int) -> None:
    request = stream(100, output_tokens=tokens)
    assert request.tpot is None
    assert request.chunk_gaps == []
    assert request.ttft == request.e2e == 0.1


def test_without_any_count_there_is_no_time_per_token_but_there_are_chunks() -> None:
    request = stream(100, 120, 150)
    assert request.tpot is None
    assert request.itl is None
    assert request.chunk_gaps == [0.02, 0.03]


def test_a_mean_over_an_exact_number_of_nanoseconds_is_exact() -> None:
    for tokens in range(2, 400):
        request = stream(0, (tokens - 1) * 7, counts=(1, tokens - 1), output_tokens=tokens)
        assert request.tpot == 0.007, tokens
