"""A server that answers each connection by its script, over plain sockets, and the answers such scripts are made of."""

from __future__ import annotations

import json
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Step = bytes | Callable[[socket.socket], object]
    Turn = Sequence[Step]


@dataclass(frozen=True)
class Seen:
    """A request as the server got it, on its ``connection``-th connection."""

    connection: int
    head: str
    body: dict[str, object]


class ScriptedServer:
    """Connection i gets the turns of script i: a turn is what is sent (or done) in answer to one request.

    After its last turn a connection is closed.
    """

    def __init__(self, *scripts: Sequence[Turn]) -> None:
        self._scripts = scripts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.02)
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self.requests: list[Seen] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        self._listener.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        for number, script in enumerate(self._scripts):
            while not self._stopping.is_set():
                with suppress(TimeoutError):
                    connection, _ = self._listener.accept()
                    self._start(self._serve, number, connection, script)
                    break

    def _serve(self, number: int, connection: socket.socket, script: Sequence[Turn]) -> None:
        connection.settimeout(PATIENCE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, suppress(ConnectionError):
            for turn in script:
                request = self._read(number, connection)
                if request is None:
                    return
                self.requests.append(request)
                for step in turn:
                    if isinstance(step, bytes):
                        connection.sendall(step)
                    else:
                        step(connection)

    @staticmethod
    def _read(number: int, connection: socket.socket) -> Seen | None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return None
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(body) < length:
            body += connection.recv(65536)
        return Seen(number, head.decode(), json.loads(body))


def reset(connection: socket.socket) -> None:
    """Drops the connection with a reset instead of an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def wait_for_the_end(connection: socket.socket) -> None:
    """Says nothing more until the client hangs up."""
    with suppress(ConnectionError):
        assert connection.recv(1) == b""


def refused_url() -> str:
    """A URL at which no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def event(content: object) -> bytes:
    return f"data: {json.dumps(content)}\n\n".encode()


def sized(content: object, status: str = "200 OK") -> bytes:
    """A whole JSON answer with its length."""
    body = json.dumps(content).encode()
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def text_stream(*words: str) -> bytes:
    """A whole stream of ``/completions`` with one chunk a word and the usage at its end."""
    pieces = [event({"choices": [{"text": word, "finish_reason": None}]}) for word in words]
    pieces.append(event({"choices": [{"text": "", "finish_reason": "length"}]}))
    pieces.append(event({"choices": [], "usage": {"completion_tokens": len(words), "prompt_tokens": 3}}))
    pieces.append(b"data: [DONE]\n\n")
    return STREAM_HEAD + b"".join(chunk(piece) for piece in pieces) + STREAM_END
