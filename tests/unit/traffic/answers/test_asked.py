"""What a request asks for, and answers that are longer or shorter than that."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.traffic.answers import openai
from pytest_llmperf.traffic.answers.asked import asks_for_several, check_asked, is_told_to_go_on, read_asked_tokens
from tests.helpers.arrivals import as_body


@pytest.mark.parametrize(("output", "fault"), [(4, False), (5, False), (6, True), (4000, True)])
def test_more_tokens_than_asked_for_are_a_fault(output: int, fault: bool) -> None:
    told = f"the server counted {output} tokens where 4 were asked for" if fault else ""
    assert check_asked(output, 4) == told
    body = {
        "choices": [{"text": " the sea is blue, and", "finish_reason": "length"}],
        "usage": {"completion_tokens": output},
    }
    assert openai.read(as_body(body, asked_tokens=4)).timing.count_fault == told


def test_without_a_limit_no_count_is_too_large() -> None:
    assert check_asked(4000, None) == ""
    assert check_asked(None, 4) == ""


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"max_tokens": 4}, 4),
        ({"max_completion_tokens": 4}, 4),
        ({"max_output_tokens": 4}, 4),
        ({"n_predict": 4}, 4),
        ({"options": {"num_predict": 4}}, 4),
        ({"max_tokens": 4, "options": {"num_predict": 9}}, 9),
        ({"max_tokens": 4, "options": {"num_predict": -1}}, None),
        ({"options": {"num_predict": 0}}, None),
        ({"max_tokens": None}, None),
        ({"max_tokens": "4"}, None),
        ({"options": [4]}, None),
        ({}, None),
    ],
)
def test_what_a_request_asks_for_is_read_in_every_protocol(body: dict[str, Any], asked: int | None) -> None:
    assert read_asked_tokens(body) == asked


@pytest.mark.parametrize(
    "ends",
    [
        {"stop": ["x"]},
        {"stop_token_ids": [7]},
        {"stop_regex": "x+"},
        {"guided_choice": ["a", "b"]},
        {"guided_json": {"type": "object"}},
        {"guided_regex": "[ab]"},
        {"guided_grammar": "root ::= x"},
        {"structured_outputs": {"choice": ["a", "b"]}},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"json_schema": {"type": "object"}},
        {"grammar": "root ::= x"},
        {"regex": "[ab]"},
        {"ebnf": "root ::= x"},
        {"format": "json"},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
    ],
)
def test_what_gives_an_answer_its_form_or_ends_it_may_make_it_short(ends: dict[str, Any]) -> None:
    assert is_told_to_go_on({"ignore_eos": True})
    assert not is_told_to_go_on({"ignore_eos": True, **ends})


@pytest.mark.parametrize(
    "other",
    [
        {"stop": None},
        {"stop": []},
        {"response_format": {"type": "text"}},
        {"guided_decoding_backend": "xgrammar"},
        {"tool_choice": "auto"},
        {"tools": [{"type": "function"}]},
        {"temperature": 0},
        {"stream": True},
        {"reasoning_format": "none"},
    ],
)
def test_what_ends_no_answer_lets_none_be_short(other: dict[str, Any]) -> None:
    assert is_told_to_go_on({"ignore_eos": True, **other})


@pytest.mark.parametrize(
    ("body", "several"),
    [
        ({}, False),
        ({"n": 1, "prompt": "x"}, False),
        ({"n": 2}, True),
        ({"n": None}, False),
        ({"n": "2"}, False),
        ({"prompt": ["x"]}, False),
        ({"prompt": ["x", "y"]}, True),
        ({"prompt": [1, 2, 3]}, False),
        ({"prompt": [[1, 2], [3]]}, True),
    ],
)
def test_several_answers_are_asked_for_by_a_number_or_by_several_prompts(body: dict[str, Any], several: bool) -> None:
    assert asks_for_several(body) == several
