"""The counts in the usage of an answer: their names, and whether they agree."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.traffic.answers import ollama, openai, openai_responses
from pytest_llmperf.traffic.answers.usage import read_usage
from tests.helpers.arrivals import as_body, as_lines, as_stream

NO_COUNTS: list[Any] = [True, 4.0, 3.5, -1, 2**53 + 1, "12", float("nan"), [4], {"tokens": 4}]
CHUNK = {"choices": [{"index": 0, "text": "a", "finish_reason": None}]}
END = {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}


def counted(output: object = 4, prompt: object = 3, **more: object) -> dict[str, Any]:
    return {"completion_tokens": output, "prompt_tokens": prompt, **more}


@pytest.mark.parametrize("value", NO_COUNTS, ids=str)
@pytest.mark.parametrize(
    "place",
    [
        "total_tokens",
        "cached_tokens",
        "num_cached_tokens",
        "prompt_cache_hit_tokens",
        "thoughts_token_count",
        "prompt_tokens_details.cached_tokens",
        "input_tokens_details.cached_tokens",
        "completion_tokens_details.reasoning_tokens",
        "completion_tokens_details.rejected_prediction_tokens",
        "output_tokens_details.audio_tokens",
    ],
)
def test_a_count_in_any_place_that_is_none_is_a_fault(place: str, value: object) -> None:
    details, _, name = place.rpartition(".")
    usage = counted(**({details: {name: value}} if details else {name: value}))
    assert read_usage(usage).fault.startswith(f"the server counted {name}: ")


@pytest.mark.parametrize("value", NO_COUNTS, ids=str)
def test_such_a_count_is_noticed_wherever_a_server_puts_it(value: object) -> None:
    details = {"output_tokens": 4, "input_tokens": 3, "output_tokens_details": {"reasoning_tokens": value}}
    response = {"status": "completed", "output": [{"type": "message", "content": "a"}], "usage": details}
    line = {"response": "a", "done": True, "done_reason": "stop", "eval_count": 1, "prompt_eval_count": value}
    running = {**CHUNK, "usage": counted(value)}
    answers = [
        openai_responses.read(as_body(response)),
        ollama.read(as_lines(line)),
        openai.read(as_stream(CHUNK, {**END, "timings": {"predicted_n": 1, "prompt_n": 3, "cache_n": value}})),
        openai.read(as_stream(CHUNK, END, {"choices": [], "x_groq": {"usage": counted(1, total_tokens=value)}})),
        openai.read(as_stream(CHUNK, running, END, {"choices": [], "usage": counted(2)})),
    ]
    assert [answer.timing.error for answer in answers] == [None] * len(answers)
    assert all("which is no number of tokens" in answer.timing.count_fault for answer in answers)


def test_what_is_no_count_of_tokens_may_be_anything() -> None:
    usage = counted(
        prompt_time=0.01,
        cost={"output_tokens": 0.002},
        cache_discount=-0.1,
        prompt_tokens_details=None,
        tokens_per_s="9",
    )
    assert read_usage({**usage, "completion_tokens_details": {"audio_tokens": None}}).fault == ""


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens_details": {"cached_tokens": 8}},
        {"input_tokens_details": {"cached_tokens": 8}},
        {"prompt_tokens_details": {}, "input_tokens_details": {"cached_tokens": 8}},
        {"prompt_tokens_details": {"audio_tokens": 0}, "input_tokens_details": {"cached_tokens": 8}},
        {"prompt_tokens_details": {"cached_tokens": 0}, "cached_tokens": 8},
        {"prompt_tokens_details": None, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 90},
        {"cached_tokens": 8},
        {"num_cached_tokens": 8},
        {"num_cached_tokens": 8, "cached_tokens": 3},
        {"cache_read_input_tokens": 8, "cache_creation_input_tokens": 90},
        {"cached_content_token_count": 8},
        {"prompt_tokens_details": {"cached_tokens": 8, "uncached_tokens": 90}},
    ],
)
def test_the_largest_count_of_cached_tokens_counts_under_every_name(usage: dict[str, Any]) -> None:
    assert read_usage(usage).cached == 8


def test_the_count_of_the_timings_is_one_of_them() -> None:
    for by_usage, by_timings in ((8, 3), (3, 8), (None, 8)):
        last = {**END, "usage": counted(1, cached_tokens=by_usage), "timings": {"cache_n": by_timings}}
        assert openai.read(as_stream(CHUNK, last)).timing.cached_tokens == 8


@pytest.mark.parametrize(
    ("usage", "output", "reasoning"),
    [
        (counted(4, total_tokens=7), 4, None),
        (counted(4, total_tokens=0), 4, None),
        (counted(4, total_tokens=None), 4, None),
        (counted(100, total_tokens=103, completion_tokens_details={"reasoning_tokens": 3}), 100, 3),
        (counted(100, total_tokens=106, completion_tokens_details={"reasoning_tokens": 3}), 103, 3),
        (counted(4, total_tokens=307, reasoning_tokens=300), 304, 300),
        (counted(4, total_tokens=307), 304, 300),
        (counted(4, total_tokens=15, cached_tokens=8), 4, None),
        (counted(4, total_tokens=20, cache_read_input_tokens=8, cache_creation_input_tokens=5), 4, None),
        ({"output_tokens": 4, "input_tokens": 3, "total_tokens": 307}, 304, 300),
    ],
)
def test_reasoning_beside_the_output_is_found_by_the_total(
    usage: dict[str, Any], output: int, reasoning: int | None
) -> None:
    counts = read_usage(usage)
    assert (counts.output, counts.reasoning, counts.fault) == (output, reasoning, "")


@pytest.mark.parametrize("total", [6, 8, 306, 308])
def test_a_total_of_other_tokens_is_a_fault(total: int) -> None:
    usage = counted(4, total_tokens=total, reasoning_tokens=300)
    assert (
        read_usage(usage).fault == f"the server counted {total} tokens in all, and 3 of the prompt and 4 of the answer"
    )


def test_tokens_of_a_prediction_that_was_rejected_are_none_of_the_answer() -> None:
    rejected = {"completion_tokens_details": {"rejected_prediction_tokens": 96, "accepted_prediction_tokens": 2}}
    assert read_usage(counted(100, total_tokens=103, **rejected)).output == 4
    assert read_usage(counted(90, **rejected)).fault == "the server counted 96 rejected tokens among 90 tokens"


@pytest.mark.parametrize(("outputs", "fault"), [((4, 4), False), ((4, 0), False), ((0, 4), False), ((4, 9), True)])
def test_two_counts_of_one_answer_agree(outputs: tuple[int, int], fault: bool) -> None:
    counts = read_usage({"completion_tokens": outputs[0], "output_tokens": outputs[1]})
    assert (counts.output, bool(counts.fault)) == (max(outputs), fault)


@pytest.mark.parametrize(
    "last",
    [
        {"choices": [], "x_groq": {"id": "req_1", "usage": counted()}},
        {"choices": [], "usage": None, "x_groq": {"id": "req_1", "usage": counted()}},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": counted()}]},
    ],
)
def test_usage_is_found_where_servers_put_it(last: dict[str, Any]) -> None:
    answer = openai.read(as_stream(CHUNK, END, last, "[DONE]"))
    assert (answer.usage, answer.timing.output_tokens, answer.timing.error) == (counted(), 4, None)
