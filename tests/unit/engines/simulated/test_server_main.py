from __future__ import annotations

import contextlib
import http.client
import json
import socket
from typing import TYPE_CHECKING

import pytest

from tests.helpers.simulated_process import CHAT, COMPLETIONS, Running, events, exchange, serving, texts
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


def test_the_server_says_that_it_is_well_and_what_it_serves(server: Running) -> None:
    assert server.send("/health") == (200, "application/json", '{"status": "ok"}')
    status, _, body = server.send("/v1/models")
    assert status == 200
    assert [(model["id"], model["object"]) for model in json.loads(body)["data"]] == [("simulated", "model")]


def test_a_chat_stream_has_role_tokens_finish_usage_and_done(server: Running) -> None:
    stream = server.stream(max_tokens=3, stream_options={"include_usage": True})
    assert [event["object"] for event in stream] == ["chat.completion.chunk"] * 6
    role, *pieces, finish, usage = stream
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all(list(piece["choices"][0]["delta"]) == ["content"] for piece in pieces)
    assert all(event["usage"] is None for event in stream[:-1])
    assert (finish["choices"][0]["delta"], finish["choices"][0]["finish_reason"]) == ({}, "length")
    assert usage["choices"] == []
    assert usage["usage"]["prompt_tokens"] == 3
    assert usage["usage"]["completion_tokens"] == 3
    assert usage["usage"]["total_tokens"] == 6
    assert len({event["id"] for event in stream}) == 1


def test_a_completions_stream_carries_text(server: Running) -> None:
    _, kind, body = server.send(COMPLETIONS, {"prompt": "one two", "max_tokens": 2, "stream": True})
    stream = events(body)
    assert kind.startswith("text/event-stream")
    assert [event["object"] for event in stream] == ["text_completion"] * 3
    assert [event["choices"][0]["finish_reason"] for event in stream] == [None, None, "length"]
    assert all(event["choices"][0]["text"].startswith(" ") for event in stream[:2])
    assert stream[2]["choices"][0]["text"] == ""
    assert not any("usage" in event for event in stream)


def test_an_answer_that_is_not_streamed_has_the_same_text_and_usage(server: Running) -> None:
    streamed = "".join(texts(server.stream(max_tokens=5)))
    status, kind, body = server.chat(max_tokens=5)
    answer = json.loads(body)
    assert (status, kind, answer["object"]) == (200, "application/json", "chat.completion")
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": streamed}
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 5
    completion = json.loads(server.send(COMPLETIONS, {"prompt": [5, 6], "max_tokens": 5})[2])
    assert (completion["choices"][0]["text"], completion["usage"]["prompt_tokens"]) == (streamed, 2)


def test_continuous_usage_counts_the_tokens_so_far(server: Running) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    stream = server.stream(max_tokens=5, stream_options=options, simulate={"tokens_per_chunk": 2})
    assert [event["usage"]["completion_tokens"] for event in stream] == [0, 2, 4, 5, 5, 5]
    assert [len(text.split()) for text in texts(stream)] == [2, 2, 1]


def test_reasoning_tokens_have_a_field_of_their_own(server: Running) -> None:
    simulate = {"reasoning_tokens": 2}
    stream = server.stream(max_tokens=5, simulate=simulate, stream_options={"include_usage": True})
    assert (len(texts(stream, "reasoning_content")), len(texts(stream))) == (2, 3)
    assert stream[-1]["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}
    message = json.loads(server.chat(max_tokens=5, simulate=simulate)[2])["choices"][0]["message"]
    assert message["reasoning_content"] == "".join(texts(stream, "reasoning_content"))
    assert message["content"] == "".join(texts(stream))


def test_an_answer_may_stop_by_itself(server: Running) -> None:
    stream = server.stream(max_tokens=10, simulate={"output_tokens": 4, "role_chunk": False})
    assert len(stream) == 5
    assert stream[-1]["choices"][0]["finish_reason"] == "stop"
    assert len(server.stream(max_tokens=3, simulate={"output_tokens": 4, "role_chunk": False})) == 4


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        (CHAT, b"{", 400, "the body is not JSON"),
        (CHAT, b"[]", 400, "the body is not a JSON object"),
        (CHAT, {}, 400, "messages are missing"),
        (COMPLETIONS, {}, 400, "prompt is missing"),
        (COMPLETIONS, {"prompt": "a", "max_tokens": 0}, 400, "max_tokens=0 is not"),
        (COMPLETIONS, {"prompt": "a", "model": "other"}, 404, "the model 'other' does not exist"),
        (COMPLETIONS, {"prompt": "a", "n": 2}, 400, "n=2"),
        (COMPLETIONS, {"prompt": "a", "simulate": {"ttft": "9"}}, 400, "ttft='9' has no unit"),
        (
            COMPLETIONS,
            {"prompt": "a", "simulate": {"slots": "9"}},
            400,
            "'slots' cannot be set for one request",
        ),
        (COMPLETIONS, {"prompt": "a", "simulate": 1}, 400, "'simulate' is not a JSON object"),
        ("/nowhere", None, 404, "no GET /nowhere here"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(
    server: Running, path: str, body: object, status: int, message: str
) -> None:
    got, kind, text = server.send(path, body)
    assert (got, kind) == (status, "application/json")
    assert json.loads(text)["error"]["message"].startswith(message)


def test_one_connection_carries_many_requests(server: Running) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)) as connection:
        connection.connect()
        address = connection.sock.getsockname()
        for body in (
            {"prompt": "a"},
            {"prompt": "a", "stream": True},
            {"prompt": "a", "max_tokens": 0},
            {"prompt": "a"},
        ):
            exchange(connection, COMPLETIONS, body)
        assert connection.sock.getsockname() == address


def test_what_is_not_http_is_refused_and_the_server_lives_on(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as client:
        client.sendall(b"nonsense\r\n\r\n")
        with client.makefile("rb") as answer:
            assert answer.read().startswith(b"HTTP/1.1 400 ")
    assert server.send("/health")[0] == 200


def test_a_request_may_ask_for_its_own_failure(server: Running) -> None:
    status, _, body = server.chat(simulate={"error": True, "error_status": 429})
    assert status == 429
    assert json.loads(body)["error"]["code"] == 429
    assert server.chat()[0] == 200


def test_a_cut_answer_ends_without_done(server: Running) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)) as connection:
        asked = {"prompt": "a", "max_tokens": 8, "stream": True, "simulate": {"cut_after": 3}}
        connection.request("POST", COMPLETIONS, json.dumps(asked))
        with pytest.raises(http.client.IncompleteRead) as caught:
            connection.getresponse().read()
    assert caught.value.partial.count(b"data: ") == 3
    assert b"[DONE]" not in caught.value.partial


def test_a_cut_answer_that_is_not_streamed_never_comes(server: Running) -> None:
    with pytest.raises(http.client.RemoteDisconnected):
        server.chat(simulate={"cut_after": 1})


def test_usage_may_always_or_never_be_stated(tmp_path: Path) -> None:
    (tmp_path / "always").mkdir()
    with serving(tmp_path / "always", usage="always") as always:
        assert always.stream(max_tokens=2)[-1]["usage"]["completion_tokens"] == 2
    (tmp_path / "never").mkdir()
    with serving(tmp_path / "never", usage="never") as never:
        stream = never.stream(max_tokens=2, stream_options={"include_usage": True, "continuous_usage_stats": True})
        assert not any("usage" in event for event in stream)
        assert "usage" not in json.loads(never.chat()[2])


def test_each_nth_request_fails_with_the_status_that_was_set(tmp_path: Path) -> None:
    with serving(tmp_path, error_every="2", error_status="503", default_max_tokens="3") as server:
        assert [server.chat()[0] for _ in range(4)] == [200, 503, 200, 503]
        records = server.records(4)
    assert [(record["request"], record["status"], record["outcome"]) for record in records] == [
        (1, 200, "answered"),
        (2, 503, "failed"),
        (3, 200, "answered"),
        (4, 503, "failed"),
    ]
    assert [[tokens for _, tokens in record["written_ns"]] for record in records] == [[3], [], [3], []]
