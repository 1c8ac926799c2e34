from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.traffic.client.dialect import Endpoint
from pytest_llmperf.traffic.client.exchange import Exchange
from pytest_llmperf.traffic.llm_client import LLMClient, RequestFailed
from tests.helpers.recorded_client import REFUSAL, WHOLE, Recorded, client_of
from tests.helpers.scripted_server import STREAM_HEAD, chunk, event, refused_url, sized, text_stream, wait_for_the_end
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pytest_llmperf.traffic.answers.answer import Answer

    Ask = Callable[..., Answer]


def generate(client: LLMClient, *prompt: str, **settings: Any) -> Answer:
    return client.generate(*prompt, **settings)


def agenerate(client: LLMClient, *prompt: str, **settings: Any) -> Answer:
    return asyncio.run(client.agenerate(*prompt, **settings))


both = pytest.mark.parametrize("ask", [generate, agenerate])


@both
def test_a_completion_is_asked_for_answered_and_recorded(ask: Ask) -> None:
    with client_of([[text_stream("a", "b")]], api_key="secret") as (client, server):
        answer = ask(client, "Say it", max_tokens=2)
    assert (answer.text, answer.timing.output_tokens, len(answer.timing.chunks)) == ("ab", 2, 2)
    assert client.timings == [answer.timing]
    [seen] = server.requests
    assert seen.head.startswith("POST /v1/completions HTTP/1.1\r\n")
    assert "Authorization: Bearer secret" in seen.head
    assert "Accept: text/event-stream" in seen.head
    assert seen.body == {
        "model": "tiny",
        "prompt": "Say it",
        "max_tokens": 2,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_conversation_is_asked_for_and_a_string_is_one_message_of_the_user() -> None:
    with client_of([[sized(WHOLE)], [sized(WHOLE)]], [[sized(WHOLE)]]) as (client, server):
        answer = client.chat("Hello", stream=False)
        client.chat([{"role": "system", "content": "Be brief"}], stream=False)
        asyncio.run(client.achat("Hello", stream=False))
    assert (answer.text, answer.timing.streamed) == ("Yes", False)
    first, second, third = server.requests
    assert first.head.startswith("POST /v1/chat/completions ")
    assert first.body["messages"] == [{"role": "user", "content": "Hello"}]
    assert second.body["messages"] == [{"role": "system", "content": "Be brief"}]
    assert "stream_options" not in first.body
    assert "Accept: application/json" in first.head
    assert third.body == first.body


def test_defaults_lie_below_the_arguments_and_extras_above() -> None:
    settings = {"cache_prompt": False, "temperature": 0.9, "seed": 1}
    options = {"continuous_usage_stats": True}
    with client_of([[text_stream("a")]], defaults=settings, stream_options=options) as (client, server):
        client.generate("x", max_tokens=1, seed=2, ignore_eos=True)
    body = server.requests[0].body
    assert (body["cache_prompt"], body["temperature"], body["seed"], body["ignore_eos"]) == (False, 0.0, 2, True)
    assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


def test_a_prompt_is_computed_afresh_unless_the_test_lets_it_share() -> None:
    def prefix_settings(share: bool) -> dict[str, object]:
        return {"cache_prompt": share}

    script = [[text_stream("a")]] * 4
    with client_of(script, defaults={"cache_prompt": False}, prefix_settings=prefix_settings) as (client, server):
        client.generate("x")
        client.generate("x", share_prefix=True)
        client.generate("x", cache_prompt=True)
        client.generate("x", cache_salt=None)
    assert [seen.body["cache_prompt"] for seen in server.requests] == [False, True, True, False]
    assert [timing.shared_prefix for timing in client.timings] == [False, True, True, False]
    assert not any("share_prefix" in seen.body for seen in server.requests)


def test_blocking_calls_share_a_connection() -> None:
    with client_of([[text_stream("a")], [text_stream("b")]]) as (client, server):
        assert [client.generate("x").text, client.generate("y").text] == ["a", "b"]
    assert [seen.connection for seen in server.requests] == [0, 0]
    assert len(client.timings) == 2


def test_a_stale_connection_counts_as_one_request() -> None:
    with client_of([[text_stream("a")]], [[text_stream("b")]]) as (client, server):
        client.generate("x")
        assert client.generate("y").text == "b"
    assert [seen.connection for seen in server.requests][-1] == 1
    assert [timing.error for timing in client.timings] == [None, None]


@both
def test_a_failed_request_is_recorded_once_and_raises_one_line(ask: Ask) -> None:
    line = r"^POST /v1/completions: HTTP 503: too busy$"
    with client_of([[REFUSAL]]) as (client, _), pytest.raises(RequestFailed, match=line) as failure:
        ask(client, "x")
    assert client.timings == [failure.value.timing]
    assert failure.value.timing.status == 503


@both
def test_a_cut_answer_is_recorded_with_the_chunks_that_came(ask: Ask) -> None:
    cut = STREAM_HEAD + chunk(event({"choices": [{"text": "a"}]})) + chunk(b'data: {"cho')
    with client_of([[cut]]) as (client, _), pytest.raises(RequestFailed, match="in the middle of the answer"):
        ask(client, "x")
    [timing] = client.timings
    assert len(timing.chunks) == 1
    assert timing.sent_ns <= timing.chunks[0].at_ns <= timing.end_ns


@both
def test_an_unreachable_server_is_recorded(ask: Ask) -> None:
    client = Recorded(refused_url())
    with pytest.raises(RequestFailed, match="connection refused"):
        ask(client, "x")
    [timing] = client.timings
    assert (timing.status, timing.chunks) == (None, ())
    assert 0 < timing.sent_ns <= timing.end_ns


def test_cancelling_records_the_request_and_closes_its_connection() -> None:
    began, ended = threading.Event(), threading.Event()

    def stall(connection: socket.socket) -> None:
        began.set()
        wait_for_the_end(connection)
        ended.set()

    async def cancel_it(client: LLMClient) -> None:
        task = asyncio.create_task(client.agenerate("x"))
        await asyncio.to_thread(began.wait, PATIENCE_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with client_of([[STREAM_HEAD, stall]]) as (client, _):
        asyncio.run(cancel_it(client))
        assert ended.wait(PATIENCE_S)
    assert [timing.error for timing in client.timings] == ["cancelled"]


def test_an_interrupted_blocking_call_is_recorded_and_the_interrupt_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(Exchange, "receive", interrupt)
    with client_of([[text_stream("a")]]) as (client, _), pytest.raises(KeyboardInterrupt):
        client.generate("x")
    assert [timing.error for timing in client.timings] == ["cancelled"]


# ------------------------------------------------------------------------------------------------ what is not measured


@pytest.fixture
def idle() -> Recorded:
    return Recorded("http://127.0.0.1:1/v1")


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "8"])
def test_max_tokens_must_be_a_whole_number_from_one(idle: Recorded, count: Any) -> None:
    with pytest.raises(ValueError, match=r"max_tokens=.* must be a whole number of at least 1"):
        idle.generate("x", max_tokens=count)
    assert idle.timings == []


def test_several_choices_are_refused(idle: Recorded) -> None:
    with pytest.raises(ValueError, match="n=2 cannot be measured"):
        idle.chat("x", n=2)
    with pytest.raises(ValueError, match="best_of=3 cannot be measured"):
        idle.generate("x", best_of=3)


def test_a_list_of_prompts_in_one_request_is_refused(idle: Recorded) -> None:
    with pytest.raises(ValueError, match="prompt must be a string"):
        idle.generate(["a", "b"])  # type: ignore[arg-type]


def test_a_run_is_refused_whole_before_anything_is_sent(idle: Recorded) -> None:
    with pytest.raises(ValueError, match="prompt must be a string"):
        idle.run(["a", [{"role": "user", "content": "b"}]])
    with pytest.raises(ValueError, match="concurrency=0 must be"):
        idle.run(["a"], concurrency=0)
    assert idle.timings == []


@pytest.mark.parametrize("prompts", [[], "one"])
def test_a_run_needs_a_list_of_prompts(idle: Recorded, prompts: Any) -> None:
    with pytest.raises(ValueError, match="at least one prompt"):
        idle.run(prompts)


def test_a_conversation_needs_a_message(idle: Recorded) -> None:
    with pytest.raises(ValueError, match="at least one message"):
        idle.chat([])


def test_a_key_that_no_header_can_carry_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="api_key holds characters") as refusal:
        LLMClient(Endpoint("http://127.0.0.1:1/v1", "tiny", "secret\n"))
    assert "secret" not in str(refusal.value)


def test_the_base_url_is_given_without_its_last_slash() -> None:
    client = LLMClient(Endpoint("http://127.0.0.1:1/v1/", "tiny", "key"))
    assert (client.base_url, client.api_key, client.model) == ("http://127.0.0.1:1/v1", "key", "tiny")
