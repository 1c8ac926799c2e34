"""Starts the simulated engine's server as a process and talks to it over plain sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


@dataclass
class Running:
    """A server process and the ways to talk to it."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def send(self, path: str, body: object = None) -> tuple[int, str, str]:
        """(status, content type, body text) of one request on its own connection."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)) as connection:
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
        return self.log.read_text(encoding="utf-8").splitlines()


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


@contextlib.contextmanager
def launched(tmp_path: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "pytest_llmperf.engines.simulated.server_main"]
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
        server = Running(process, int(announce.read_text(encoding="utf-8").rpartition(":")[2]), tmp_path / "log")
        until(lambda: server.send("/health")[0] == 200)
        yield server


@contextlib.contextmanager
def stream_of(server: Running, **simulate: object) -> Iterator[socket.socket]:
    """A connection on which a chat stream has been asked for and nothing read."""
    body = json.dumps({"messages": [{"role": "user", "content": "a"}], "stream": True, "simulate": simulate})
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as client:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall((head + body).encode())
        yield client


def texts(stream: list[dict[str, Any]], key: str = "content") -> list[str]:
    deltas = [event["choices"][0]["delta"] for event in stream if event["choices"]]
    return [delta[key] for delta in deltas if delta.get(key)]
