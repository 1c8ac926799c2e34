from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.traffic.client.arguments import OWN, check_words, parse_headers, parse_timeout
from pytest_llmperf.traffic.client.dialect import OPENAI, Endpoint
from pytest_llmperf.traffic.client.posts import completion

if TYPE_CHECKING:
    from collections.abc import Mapping

ENDPOINT = Endpoint("http://127.0.0.1:1/v1", "tiny")
DEFAULTS = {"max_tokens": 128, "temperature": 0.0, "stream": True}


def body(**settings: Any) -> Mapping[str, Any]:
    return completion(ENDPOINT, OPENAI, "x", {**DEFAULTS, **settings}).body


def refusal(**extra: Any) -> str:
    with pytest.raises(ValueError, match=r"\S") as error:
        check_words(extra, OWN)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("max_token", "max_tokens"),
        ("maxTokens", "max_tokens"),
        ("max-tokens", "max_tokens"),
        ("temprature", "temperature"),
        ("top_kk", "top_k"),
        ("header", "headers"),
        ("timeouts", "timeout"),
        ("shared_prefix", "share_prefix"),
        ("stream_option", "stream_options"),
        ("ignore_oes", "ignore_eos"),
    ],
)
def test_a_misspelled_word_is_refused_with_the_one_that_is_meant(word: str, meant: str) -> None:
    assert refusal(**{word: 1}).startswith(f"{word}= is not known: did you mean {meant}=?")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("extra_headers", "headers={...}"),
        ("extra_query", "--llmperf-url=URL?key=value"),
        ("api_key", "--llmperf-engine-arg=api_key=KEY"),
        ("max_retries", "sent once"),
        ("max_new_tokens", "max_tokens="),
        ("messages", "first argument of chat()"),
    ],
)
def test_a_word_of_another_client_is_refused_with_what_to_give(word: str, hint: str) -> None:
    assert hint in refusal(**{word: {}})


def test_fields_of_servers_and_unlike_words_go_into_the_body() -> None:
    check_words(dict.fromkeys(["cache_salt", "top_k", "ignore_eos", "n_probs", "num_ctx", "my_own_field"], 1), OWN)


def test_what_is_sent_unchecked_comes_last() -> None:
    sent = body(seed=1, extra_body={"max_token": 3, "seed": 2})
    assert (sent["max_token"], sent["seed"]) == (3, 2)
    assert "extra_body" not in sent
    with pytest.raises(ValueError, match="extra_body must be a dict"):
        body(extra_body="seed=1")


@pytest.mark.parametrize("key", ["max_tokens", "temperature", "stream_options"])
def test_none_leaves_a_field_out(key: str) -> None:
    assert key not in body(**{key: None})
    assert key in body()


def test_the_newer_limit_takes_the_place_of_the_other() -> None:
    assert {key: value for key, value in body(max_completion_tokens=9).items() if "tokens" in key} == {
        "max_completion_tokens": 9
    }
    assert body(max_completion_tokens=None)["max_tokens"] == 128
    with pytest.raises(ValueError, match="max_tokens and max_completion_tokens both limit"):
        body(max_completion_tokens=9, max_tokens=7)
    with pytest.raises(ValueError, match="max_completion_tokens=True must be a whole number"):
        body(max_completion_tokens=True)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ("X: 1", "headers must be a dict"),
        ({"a b": "1"}, "'a b', which is no name of a header"),
        ({1: "1"}, "1, which is no name of a header"),
        ({"Content-Length": "1"}, "'Content-Length', which the client sets itself"),
        ({"accept-encoding": "gzip"}, "the client sets itself"),
        ({"X": "a\r\nY: b"}, "must be a text of ASCII characters in one line"),
        ({"X": "ä"}, "must be a text"),
        ({"X": 1}, "must be a text"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused(headers: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_headers(headers)


def test_the_value_of_a_refused_header_is_not_shown() -> None:
    with pytest.raises(ValueError, match="must be a text") as error:
        parse_headers({"Authorization": "secret\n"})
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(("given", "seconds"), [(None, None), (2, 2.0), (0.5, 0.5), ("500 ms", 0.5)])
def test_a_timeout_is_seconds_or_a_text(given: object, seconds: float | None) -> None:
    assert parse_timeout(given) == seconds


@pytest.mark.parametrize("given", [0, -1, True, float("inf"), float("nan"), "5", "0 s", [1]])
def test_what_is_no_timeout_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="5" if given == "5" else "timeout="):
        parse_timeout(given)
