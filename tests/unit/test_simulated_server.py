from __future__ import annotations

import contextlib
import http.client
import json
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MIB = 2**20
PATIENCE_S = 60
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


@dataclass
class Running:
    """A server process and the ways to talk to it."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def send(self, path: str, body: object = None) -> tuple[int, str, str]:
        """(status, content type, body text) of one request on its own connection."""
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        ) as connection:
            return exchange(connection, path, body)

    def chat(self, **asked: object) -> tuple[int, str, str]:
        return self.send(CHAT, {"messages": [{"role": "user", "content": "one two three"}], **asked})

    def stream(self, **asked: object) -> list[dict[str, Any]]:
        """The events of a chat stream that ends with ``[DONE]``."""
        return events(self.chat(stream=True, **asked)[2])

    def records(self, count: int) -> list[dict[str, Any]]:
        """The first ``count`` lines of the log, once they are there."""
        until(lambda: len(self._lines()) >= count)
        return [json.loads(line) for line in self._lines()]

    def _lines(self) -> list[str]:
        return self.log.read_text().splitlines()


def exchange(connection: http.client.HTTPConnection, path: str, body: object) -> tuple[int, str, str]:
    if body is None:
        connection.request("GET", path)
    else:
        connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body))
    response = connection.getresponse()
    return response.status, response.getheader("content-type", ""), response.read().decode()


def events(text: str) -> list[dict[str, Any]]:
    *lines, done, last = text.split("\n\n")
    assert (done, last) == ("data: [DONE]", "")
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@contextlib.contextmanager
def launched(tmp_path: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "pytest_llmperf.engines.simulated_server"]
    command += ["--announce", str(tmp_path / "announce"), "--log", str(tmp_path / "log")]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def serving(tmp_path: Path, **settings: str) -> Iterator[Running]:
    with launched(tmp_path, **{"ttft": "0 ms", "tpot": "0 ms", **settings}) as process:
        announce = tmp_path / "announce"
        until(lambda: announce.exists() or process.poll() is not None)
        server = Running(process, int(announce.read_text().rpartition(":")[2]), tmp_path / "log")
        until(lambda: server.send("/health")[0] == 200)
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


def texts(stream: list[dict[str, Any]], key: str = "content") -> list[str]:
    deltas = [event["choices"][0]["delta"] for event in stream if event["choices"]]
    return [delta[key] for delta in deltas if delta.get(key)]


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
        ("/v1/embeddings", {}, 404, "no POST /v1/embeddings here"),
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
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    ) as connection:
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
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    ) as connection:
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
        stream = never.stream(
            max_tokens=2, stream_options={"include_usage": True, "continuous_usage_stats": True}
        )
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


def test_nothing_is_written_before_its_deadline(tmp_path: Path) -> None:
    settings = {
        "ttft": "30 ms",
        "tpot": "2 ms",
        "tokens_per_chunk": "2",
        "stall_after": "4",
        "stall": "50 ms",
    }
    with serving(tmp_path, **settings) as server:
        before_ns = time.monotonic_ns()
        server.stream(max_tokens=6)
        after_ns = time.monotonic_ns()
        (record,) = server.records(1)
    assert before_ns <= record["arrived_ns"] <= record["ended_ns"] <= after_ns
    due_ns = [record["arrived_ns"] + offset * 1_000_000 for offset in (30, 34, 88)]
    written_ns = [written for written, _ in record["written_ns"]]
    assert [tokens for _, tokens in record["written_ns"]] == [2, 2, 2]
    # a clock may wake us a hair early: the loop rounds to its resolution
    assert all(written >= due - 1000 for written, due in zip(written_ns, due_ns, strict=True))


def test_the_role_chunk_comes_before_the_first_token_is_due(tmp_path: Path) -> None:
    with serving(tmp_path, ttft="10 min") as server, stream_of(server) as client:
        assert b'"role":"assistant"' in client.recv(65536)


@contextlib.contextmanager
def stream_of(server: Running, **simulate: object) -> Iterator[socket.socket]:
    """A connection on which a chat stream has been asked for and nothing read."""
    body = json.dumps({"messages": [{"role": "user", "content": "a"}], "stream": True, "simulate": simulate})
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as client:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall((head + body).encode())
        yield client


def test_a_client_that_leaves_frees_its_slot(tmp_path: Path) -> None:
    with serving(tmp_path, slots="1") as server:
        with stream_of(server, ttft="10 min") as leaving:
            leaving.recv(65536)
            with stream_of(server, role_chunk=False) as waiting:
                assert select.select([waiting], [], [], 0.05)[0] == []
                leaving.close()
                assert waiting.recv(65536).startswith(b"HTTP/1.1 200 ")
        records = server.records(2)
    assert (records[0]["request"], records[0]["outcome"]) == (1, "disconnected")
    assert records[1]["written_ns"][0][0] >= records[0]["ended_ns"]


def test_a_crash_takes_the_process_with_it_in_the_middle_of_a_stream(tmp_path: Path) -> None:
    with serving(tmp_path, crash_after="5") as server:
        assert len(texts(server.stream(max_tokens=3))) == 3
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            server.chat(max_tokens=10, stream=True)
        assert server.process.wait(PATIENCE_S) == 70
        assert [record["outcome"] for record in server.records(2)] == ["answered", "crashed"]
        assert sum(tokens for record in server.records(2) for _, tokens in record["written_ns"]) == 5


def test_a_failed_load_prints_why_and_exits(tmp_path: Path) -> None:
    with launched(tmp_path, crash_on_start="true") as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 3
        assert errors == b"simulated engine: crash_on_start: cannot load the model\n"


def test_while_it_loads_it_is_not_well(tmp_path: Path) -> None:
    with launched(tmp_path, load_time="10 min") as process:
        announce = tmp_path / "announce"
        until(announce.exists)
        server = Running(process, int(announce.read_text().rpartition(":")[2]), tmp_path / "log")
        for status, _, body in (server.send("/health"), server.chat()):
            assert status == 503
            assert json.loads(body)["error"]["message"] == "Loading model"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_and_well(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path) as server, stream_of(server, ttft="10 min") as client:
        client.recv(65536)
        server.process.send_signal(number)
        assert server.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("setting", [["--set", "ttft=9"], ["--set", "ttft"], ["--set", "nonsense=1"]])
def test_a_bad_setting_stops_it_before_it_starts(tmp_path: Path, setting: list[str]) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest_llmperf.engines.simulated_server",
        "--announce",
        str(tmp_path / "a"),
    ]
    ended = subprocess.run([*command, *setting], capture_output=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 2
    assert setting[1].split("=")[0].encode() in ended.stderr.splitlines()[-1]
    assert not (tmp_path / "a").exists()


def test_its_memory_is_really_there(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "large").mkdir()
    with serving(tmp_path / "plain") as plain, serving(tmp_path / "large", memory="96 MiB") as large:
        grown = resident(large) - resident(plain)
    assert 90 * MIB < grown < 110 * MIB


def test_a_request_holds_its_memory_only_while_it_runs(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.stream()
        idle = resident(server)
        with stream_of(server, ttft="10 min", memory_per_request="64 MiB") as client:
            client.recv(65536)
            until(lambda: resident(server) > idle + 60 * MIB)
        until(lambda: resident(server) < idle + 8 * MIB)


def resident(server: Running) -> int:
    return int(psutil.Process(server.process.pid).memory_info().rss)
