"""Older servers of llama.cpp, and answers of its own form that are not whole."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.traffic.answers.llamacpp.completion import read, read_any_completion
from tests.helpers.arrivals import as_body, as_stream


def piece(text: str, predicted: int) -> dict[str, Any]:
    return {"index": 0, "content": text, "stop": False, "tokens_predicted": predicted, "tokens_evaluated": 3}


def last(predicted: int = 2, **fields: Any) -> dict[str, Any]:
    ended = {"content": "", "stop": True, "tokens_predicted": predicted, "tokens_evaluated": 3, "model": "m"}
    return {**ended, "stop_type": "eos", **fields}


@pytest.mark.parametrize(
    ("ending", "finish"),
    [
        ({"stop_type": "limit"}, "length"),
        ({"stop_type": "word"}, "stop"),
        ({"stop_type": "", "stopped_eos": True, "stopped_limit": False}, "stop"),
        ({"stop_type": None, "stopped_limit": True}, "length"),
    ],
)
def test_why_it_ended_is_said_in_one_field_or_in_several(ending: dict[str, Any], finish: str) -> None:
    timing = read(as_stream(piece("a", 1), piece("b", 2), last(**ending))).timing
    assert (timing.error, timing.finish_reason, timing.output_tokens) == (None, finish, 2)


def test_chunks_hold_as_many_tokens_as_the_count_rises_by() -> None:
    timing = read(as_stream(piece("a", 1), piece("b c", 3), last(3))).timing
    assert timing.tokens_per_chunk == [1, 2]
    assert timing.itl == [0.01, 0.0]


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([piece("a", 1)], "the stream ended without a finish reason"),
        ([piece("a", 1), last(stop_type="none")], "the stream ended with 'none'"),
        ([piece("a", 1), last(), piece("b", 2)], "more came after the answer had ended"),
        ([piece("a", 1), {"error": {"message": "out of room"}}], "the server reported an error: out of room"),
        ([last(1)], "the answer is empty: it ended with 'stop' after 1 token"),
        ([piece("a", 1), {**piece("b", 1), "index": 1}], "the answer has several choices"),
        (["x"], "the server sent something that is not a JSON object"),
        ([], "status 200 without an answer"),
    ],
)
def test_what_is_no_whole_answer_is_a_failed_request(events: list[Any], error: str) -> None:
    assert (read(as_stream(*events)).timing.error or "").startswith(error)


def test_counts_that_contradict_each_other_are_doubted() -> None:
    ended = last(2, timings={"predicted_n": 40})
    assert "counted the answer twice" in read(as_stream(piece("a", 1), piece("b", 2), ended)).timing.count_fault


def test_what_has_choices_is_of_the_openai_api() -> None:
    choice = {"index": 0, "text": '"tokens_predicted"', "finish_reason": "stop"}
    assert read_any_completion(as_body({"choices": [choice]})).text == choice["text"]
    assert read_any_completion(as_stream({"choices": [choice]})).text == choice["text"]
