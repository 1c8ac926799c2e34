"""What the server does with requests that queue, leave, fail, or have an answer in a script."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.simulated_process import CHAT, COMPLETIONS, Running, serving
from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRIPT = {
    "answer": [
        {"pattern": "busy", "times": 1, "status": 429, "message": "slow down", "retry_after": "7"},
        {"pattern": "busy", "text": "At last."},
        {"pattern": "breaks", "text": "One two three four.", "cut_after": 2},
        {"pattern": "fails", "text": "One two three four.", "fail_after": 2},
        {"pattern": "refund", "text": "Within thirty days."},
        {"pattern": "order (17)", "tool_calls": [{"name": "find_order", "arguments": {"number": 17}}]},
        {"pattern": "shipped", "role": "tool", "text": "It is on its way."},
        {"pattern": "unreadable", "path": "/embeddings", "status": 500},
    ]
}
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
EMBEDDINGS = "/v1/embeddings"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "a"}]},
    COMPLETIONS: {"prompt": "a"},
    MESSAGES: {"messages": [{"role": "user", "content": "a"}], "max_tokens": 8},
    RESPONSES: {"input": "a"},
    EMBEDDINGS: {"input": "a"},
    "/v1/rerank": {"query": "a", "documents": ["b"]},
    "/v1/score": {"text_1": "a", "text_2": "b"},
}
SLOW = {"simulate": {"ttft": "10 min", "embedding_time": "10 min"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with a script and one slot."""
    folder = tmp_path_factory.mktemp("server")
    script = folder / "script.json"
    script.write_text(json.dumps(SCRIPT), encoding="utf-8")
    settings = {"script": str(script), "slots": "1", "queue_limit": "1", "embedding_time": "0 s"}
    with serving(folder, **settings) as running:
        yield running


@contextlib.contextmanager
def asking(server: Running, path: str, body: object) -> Iterator[socket.socket]:
    """A connection on which a request has been sent and nothing read."""
    text = json.dumps(body)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as client:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n"
        client.sendall((head + text).encode())
        yield client


def read_slots(server: Running) -> dict[str, Any]:
    slots: dict[str, Any] = json.loads(server.send("/slots")[2])
    return slots


def read_metrics(server: Running) -> dict[str, float]:
    page = server.send("/metrics")[2]
    samples = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
    return {name.removeprefix("simulated:"): float(value) for name, _, value in samples}


def say(server: Running, text: str, **asked: object) -> tuple[int, str, str]:
    return server.send(CHAT, {"messages": [{"role": "user", "content": text}], **asked})


# ------------------------------------------------------------------------------------------- who leaves, and who queues


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", BODIES)
def test_a_client_that_leaves_is_noticed_at_once(server: Running, path: str, stream: bool) -> None:
    before = read_metrics(server)
    with asking(server, path, {**BODIES[path], **SLOW, "stream": stream}):
        until(lambda: read_slots(server)["slots"][0]["is_processing"])
        slot = read_slots(server)["slots"][0]
        assert (slot["path"], slot["generated_tokens"]) == (path, 0)
    until(lambda: not read_slots(server)["slots"][0]["is_processing"])
    now = read_metrics(server)
    gone = 'requests_total{outcome="disconnected"}'
    assert (now[gone] - before[gone], now["requests_running"]) == (1, 0)


def test_what_queues_is_told_and_one_too_many_is_refused(server: Running) -> None:
    with asking(server, CHAT, {**BODIES[CHAT], **SLOW}):
        until(lambda: read_metrics(server)["requests_running"] == 1)
        with asking(server, EMBEDDINGS, {**BODIES[EMBEDDINGS], **SLOW}):
            until(lambda: read_metrics(server)["requests_waiting"] == 1)
            assert read_slots(server)["waiting"] == 1
            status, _, body = say(server, "a")
            assert status == 429
            assert json.loads(body)["error"]["message"] == "the queue is full: queue_limit=1"
            assert json.loads(body)["error"]["type"] == "rate_limit_error"
            status, _, body = server.send(MESSAGES, BODIES[MESSAGES])
            assert (status, json.loads(body)["error"]["type"]) == (429, "rate_limit_error")
    until(lambda: read_metrics(server)["requests_running"] == read_metrics(server)["requests_waiting"] == 0)


def test_tokens_are_counted(server: Running) -> None:
    before = read_metrics(server)
    say(server, "one two three", max_tokens=5)
    server.send(EMBEDDINGS, {"input": ["one two", "three"]})
    now = read_metrics(server)
    assert now["process_start_time_seconds"] == before["process_start_time_seconds"]
    assert now["prompt_tokens_total"] - before["prompt_tokens_total"] == 6
    assert now["generation_tokens_total"] - before["generation_tokens_total"] == 5
    answered = 'requests_total{outcome="answered"}'
    assert now[answered] - before[answered] == 2


# --------------------------------------------------------------------------------------------------------- the script


def test_a_scripted_refusal_ends_when_it_is_used_up(server: Running) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "busy?"}]})
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)) as connection:
        connection.request("POST", CHAT, body)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("retry-after")) == (429, "7")
        assert json.loads(answer.read())["error"]["message"] == "slow down"
    assert json.loads(say(server, "busy?")[2])["choices"][0]["message"]["content"] == "At last."
    assert server.send("/reset_script", {})[0] == 200
    assert say(server, "busy?")[0] == 429


def read_text(path: str, answer: Any) -> str:
    if path == CHAT:
        return str(answer["choices"][0]["message"]["content"])
    if path == COMPLETIONS:
        return str(answer["choices"][0]["text"])
    return str(answer["content"][0]["text"] if path == MESSAGES else answer["output"][0]["content"][0]["text"])


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, MESSAGES, RESPONSES])
def test_a_script_answers_on_every_path(server: Running, path: str) -> None:
    body = json.loads(json.dumps(BODIES[path]).replace('"a"', '"Is there a refund?"'))
    assert read_text(path, json.loads(server.send(path, body)[2])) == "Within thirty days."


def test_a_script_answers_in_turns_with_tools(server: Running) -> None:
    (call,) = json.loads(say(server, "Where is order 17?")[2])["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "find_order", "arguments": '{"number": 17}'}
    messages = [
        {"role": "user", "content": "Where is order 17?"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "shipped"},
    ]
    answer = json.loads(server.send(CHAT, {"messages": messages})[2])
    assert answer["choices"][0]["message"]["content"] == "It is on its way."


def test_a_script_cuts_streams(server: Running) -> None:
    with pytest.raises(http.client.IncompleteRead) as caught:
        say(server, "it breaks", stream=True)
    assert b"two" in caught.value.partial
    assert b"three" not in caught.value.partial


@pytest.mark.parametrize(
    ("path", "last"),
    [
        (CHAT, "data: [DONE]"),
        (COMPLETIONS, "data: [DONE]"),
        (MESSAGES, '"error":{"type":"api_error","message":"simulated failure"}}'),
        (RESPONSES, '"error":{"code":"server_error","message":"simulated failure"}'),
    ],
)
def test_a_script_ends_streams_with_an_error(server: Running, path: str, last: str) -> None:
    body = json.loads(json.dumps(BODIES[path]).replace('"a"', '"it fails"'))
    status, _, text = server.send(path, {**body, "stream": True})
    assert status == 200
    assert "simulated failure" in text
    assert "two" in text
    assert "three" not in text
    assert last in text.strip().split("\n\n")[-1].replace(", ", ",")
    status, _, text = server.send(path, body)
    assert status == 500
    assert "simulated failure" in text


def test_a_script_is_for_its_paths_only(server: Running) -> None:
    assert server.send(EMBEDDINGS, {"input": ["readable", "unreadable"]})[0] == 500
    assert say(server, "unreadable")[0] == 200


def test_a_text_that_no_encoding_has_breaks_nothing(server: Running) -> None:
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "string"}}}
    status, _, body = say(server, "\ud800", response_format=form, logprobs=True, top_logprobs=1)
    assert (status, json.loads(body)["choices"][0]["message"]["content"]) == (200, '"\ud800"')
    assert server.send(EMBEDDINGS, {"input": "\ud800"})[0] == 200


def test_requests_of_the_warm_up_leave_the_script_alone(server: Running) -> None:
    assert say(server, "refund")[2] != say(server, "refund", simulate={"warmup": True})[2]


# -------------------------------------------------------------------------------------------------------------- others


def test_embeddings_are_not_written_before_their_time(tmp_path: Path) -> None:
    with serving(tmp_path, embedding_time="20 ms", prefill="5 ms") as server:
        before_ns = time.monotonic_ns()
        assert server.send(EMBEDDINGS, {"input": "one two"})[0] == 200
        (record,) = server.records(1)
    assert before_ns <= record["arrived_ns"] <= record["ended_ns"] - 30 * 10**6 + 1000
    assert (record["path"], record["outcome"]) == (EMBEDDINGS, "answered")


def test_cached_tokens_are_told_in_the_words_of_each_api(tmp_path: Path) -> None:
    text = "one two three four"
    with serving(tmp_path, prefix_cache="true") as server:
        say(server, text)
        chat = json.loads(say(server, text)[2])["usage"]
        messages = [{"role": "user", "content": text}]
        anthropic = json.loads(server.send(MESSAGES, {"messages": messages, "max_tokens": 1})[2])["usage"]
        response = json.loads(server.send(RESPONSES, {"input": text})[2])["usage"]
        assert read_metrics(server)["cached_prompt_tokens_total"] == 9
    assert (chat["prompt_tokens"], chat["prompt_tokens_details"]["cached_tokens"]) == (4, 3)
    assert (anthropic["input_tokens"], anthropic["cache_read_input_tokens"]) == (1, 3)
    assert (response["input_tokens"], response["input_tokens_details"]["cached_tokens"]) == (4, 3)
