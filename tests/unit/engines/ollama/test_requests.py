"""Requests of the OpenAI API as they are sent to Ollama's own, and what is refused on the way."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from pytest_llmperf.engines.ollama.requests import (
    NONCE,
    NONCE_EXAMPLE,
    native_api,
    native_request,
    prefix_group,
    prefix_settings,
)
from pytest_llmperf.traffic.client.exchange import Exchange
from pytest_llmperf.traffic.client.http import HttpTransport
from tests.helpers.ollama_captures import whole

ROOT = "http://127.0.0.1:11434"
PINNED = {"num_ctx": 2048, "num_thread": 4}


def sent(path: str, **body: Any) -> tuple[str, dict[str, Any]]:
    return native_request(path, {"model": "m", "stream": True, "max_tokens": 8, "temperature": 0.0, **body}, PINNED)


def completion(**body: Any) -> dict[str, Any]:
    return sent("/completions", **{"prompt": "Hello", **body})[1]


def chat(**body: Any) -> dict[str, Any]:
    return sent("/chat/completions", **{"messages": [{"role": "user", "content": "Hello"}], **body})[1]


def test_a_completion_is_raw_and_never_cut_and_carries_the_options_of_the_load() -> None:
    path, body = sent("/completions", prompt="Hello", stream_options={"include_usage": True})
    assert path == "/api/generate"
    assert body == {
        "model": "m",
        "stream": True,
        "raw": True,
        "truncate": False,
        "prompt": "Hello",
        "options": {"num_ctx": 2048, "num_thread": 4, "num_predict": 8, "temperature": 0.0},
    }


def test_a_conversation_goes_through_the_template() -> None:
    path, body = sent("/chat/completions", messages=[{"role": "user", "content": "Hello"}], think=True)
    assert path == "/api/chat"
    assert "raw" not in body
    assert (body["think"], body["truncate"]) == (True, False)
    assert body["messages"] == [{"role": "user", "content": "Hello"}]


def test_the_nonce_stands_before_all_else() -> None:
    nonce = prefix_settings(share=False)[NONCE]
    assert re.fullmatch(r"\[[0-9]{8}\] ", nonce)
    assert nonce != prefix_settings(share=False)[NONCE]
    assert prefix_settings(share=True) == {}
    assert completion(**{NONCE: "[x] "})["prompt"] == "[x] Hello"
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    sent_messages = chat(messages=messages, **{NONCE: "[x] "})["messages"]
    assert [message["content"] for message in sent_messages] == ["[x] Be brief.", "Hello"]
    assert messages[0]["content"] == "Be brief."


def test_a_group_has_a_nonce_of_its_own() -> None:
    first, again, other = (prefix_group(name)[NONCE] for name in ("run 1", "run 1", "run 2"))
    assert first == again != other
    assert len(first) == len(NONCE_EXAMPLE)


def test_options_may_be_given_one_by_one_or_as_ollama_writes_them() -> None:
    options = completion(top_p=0.9, stop="\n", options={"seed": 1, "num_predict": 3})["options"]
    assert options == {**PINNED, "temperature": 0.0, "top_p": 0.9, "stop": ["\n"], "seed": 1, "num_predict": 3}


def test_the_newer_name_of_the_limit_is_ollamas_own() -> None:
    assert completion(max_completion_tokens=4)["options"]["num_predict"] == 4


def test_an_option_of_the_load_may_be_repeated_and_not_changed() -> None:
    assert completion(num_ctx=2048)["options"]["num_ctx"] == 2048
    with pytest.raises(ValueError, match=r"num_ctx=512 would load .* --llmperf-engine-arg=ollama:num_ctx=512"):
        completion(num_ctx=512)
    with pytest.raises(ValueError, match="num_gpu=0 would load the model again"):
        completion(options={"num_gpu": 0})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ignore_eos": True}, "ignore_eos=True: Ollama has no such option"),
        ({"tempreature": 1.0}, r"did you mean temperature\?"),
        ({"seed": 1.5}, r"seed=1\.5 must be a whole number"),
        ({"seed": True}, "seed=True must be a whole number"),
        ({"top_p": "high"}, "top_p='high' must be a number"),
        ({"stop": [1]}, "must be a list of texts"),
        ({"keep_alive": 0}, "keep_alive=0 would load the model again"),
        ({"raw": True}, "chat of Ollama takes no raw"),
    ],
)
def test_what_the_server_would_ignore_or_take_for_another_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chat(**settings)


def test_a_tool_call_of_an_earlier_answer_is_said_as_ollama_says_it() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Paris"}'}}
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    assert chat(messages=messages)["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"town": "Paris"}


def test_content_in_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="the content of a message must be a text; images go beside it"):
        chat(messages=[{"role": "user", "content": [{"type": "text", "text": "Hello"}]}])


def test_it_is_sent_below_the_root_of_the_server() -> None:
    transport = HttpTransport(native_api(ROOT, PINNED), "", 120.0)
    attempt = transport.attempt("/completions", {"model": "m", "stream": False, "prompt": "Hello"})
    assert isinstance(attempt, Exchange)
    assert attempt.path == "/api/generate"
    transport.close()


def test_what_a_model_was_loaded_with_is_asked_at_each_request() -> None:
    pinned: dict[str, Any] = {}
    api = native_api(ROOT, pinned)
    pinned["num_ctx"] = 512
    _, body = api.translate("/completions", {"model": "m", "stream": False, "prompt": "Hello", "max_tokens": 1})
    assert body["options"] == {"num_ctx": 512, "num_predict": 1}
    assert api.find_length(body) == ("options", "num_predict")


def test_a_version_that_counts_what_it_had_to_read_only_gives_no_count_of_a_shared_prompt() -> None:
    shared = replace(whole("generate_nostream.json"), shared_prefix=True)
    odd = native_api(ROOT, PINNED, counts_uncached=True)
    assert odd.read(shared).timing.prompt_tokens is None
    assert odd.read(whole("generate_nostream.json")).timing.prompt_tokens == 15
    assert native_api(ROOT, PINNED).read(shared).timing.prompt_tokens == 15
