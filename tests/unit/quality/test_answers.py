"""Next tokens are read from what real servers have answered."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from pytest_llmperf.quality.answers import NoLikelyTokensError, read_next_tokens

CAPTURES = Path(__file__).parents[2] / "helpers" / "captures" / "next_tokens"


def read_capture(name: str) -> bytes:
    return (CAPTURES / name).read_bytes()


@pytest.mark.parametrize("name", ["llamacpp.json", "vllm.json", "ollama.json"])
def test_the_twenty_most_likely_tokens_are_read(name: str) -> None:
    found = read_next_tokens(read_capture(name))
    assert len(found.likely) == 20
    assert found.context_tokens == 9
    assert found.first == " the"
    assert 0.5 < sum(math.exp(value) for value in found.likely.values()) < 1


def test_llamacpp_and_ollama_say_the_same_of_one_model() -> None:
    assert read_next_tokens(read_capture("llamacpp.json")) == read_next_tokens(read_capture("ollama.json"))


def test_an_answer_that_ends_at_once_has_no_tokens_on_ollama() -> None:
    found = read_next_tokens(read_capture("ollama-ended.json"))
    assert found.likely == {}
    assert found.first == ""
    assert found.context_tokens == 10


def answer(logprobs: Any) -> bytes:
    return json.dumps({"choices": [{"logprobs": logprobs}], "usage": {"prompt_tokens": 3}}).encode()


def test_tokens_that_are_written_the_same_are_added_up() -> None:
    tokens = [{"token": t, "logprob": math.log(p)} for t, p in (("�", 0.2), ("a", 0.5), ("�", 0.1))]
    found = read_next_tokens(answer({"content": [{"top_logprobs": tokens}]}))
    assert found.likely == {"a": round(math.log(0.5), 6), "�": round(math.log(0.3), 6)}


def test_special_tokens_have_an_empty_text_on_every_engine() -> None:
    vllm = read_next_tokens(answer({"top_logprobs": [{"<|im_end|>": -0.7, "a": -1.0, "</s>": -3.0}]}))
    assert set(vllm.likely) == {"", "a"}
    assert vllm.first == ""


def test_of_a_part_of_a_character_llamacpp_states_none() -> None:
    body = {"choices": [{"text": " \ufffd", "logprobs": None}], "usage": {"prompt_tokens": 37}}
    found = read_next_tokens(json.dumps(body).encode())
    assert (found.context_tokens, found.likely) == (37, {})


def test_an_error_that_is_null_is_none() -> None:
    tokens = json.loads(answer({"top_logprobs": [{"a": -1.0, "b": -1.0}]}))
    assert read_next_tokens(json.dumps({**tokens, "error": None}).encode()).first == "a"


def test_a_token_that_is_as_good_as_certain_is_no_chosen_one() -> None:
    assert read_next_tokens(answer({"top_logprobs": [{"a": 0.0, "b": -38.5, "c": -9999.0}]})).first == "a"


def test_of_equally_likely_tokens_the_first_is_always_the_same() -> None:
    one = read_next_tokens(answer({"top_logprobs": [{"b": -1.0, "a": -1.0}]}))
    other = read_next_tokens(answer({"top_logprobs": [{"a": -1.0, "b": -1.0}]}))
    assert one.first == other.first == "a"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"error": "boom"}', "refuses to state log-probabilities: boom"),
        (answer(None), "states no log-probabilities"),
        (answer({"top_logprobs": [None]}), "states no log-probabilities"),
        (answer({"top_logprobs": [{"a": 0.5}]}), "states no log-probabilities"),
        (answer({"top_logprobs": [{"a": float("nan"), "b": -1.0}]}), "states no log-probabilities"),
        (answer({"content": []}), "states no log-probabilities"),
        (answer({"top_logprobs": [{"a": -0.1}]}), "states 1 of the 20"),
        (b'{"response": " the", "done_reason": "length"}', "states no log-probabilities"),
        (b'{"choices": []}', "states no log-probabilities"),
        (b"[" * 100_000, "not JSON"),
        (answer({"top_logprobs": [{"a": -0.1, "b": -0.2}]}), "add up to 1.72"),
        (answer({"top_logprobs": [{"a": 0.0, "b": float("-inf")}]}), "after a token was chosen"),
        (answer({"top_logprobs": [{"a": 0.0, "b": -9999.0, "c": -9999.0}]}), "after a token was chosen"),
    ],
)
def test_an_answer_without_them_says_so_in_one_line(body: bytes, said: str) -> None:
    with pytest.raises(NoLikelyTokensError, match=said) as caught:
        read_next_tokens(body)
    assert "\n" not in str(caught.value)


def test_what_a_server_says_of_its_refusal_is_passed_on() -> None:
    with pytest.raises(NoLikelyTokensError, match="greater than max allowed: 20"):
        read_next_tokens(read_capture("vllm-refused.json"))
