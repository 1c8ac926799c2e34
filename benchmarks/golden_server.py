"""A server of token streams that writes each token at its moment and notes when it really did.

    python benchmarks/golden_server.py FOLDER [CORE]

It writes its address into FOLDER/address and serves ``POST /v1/completions`` and ``/v1/chat/completions`` until
SIGTERM. Every answer has ``max_tokens`` chunks of one token, the first 0.5 to 1.5 times GOLDEN_TTFT_MS after the last
byte of the request had arrived and the others GOLDEN_GAP_MS apart (environment variables). ``GET /log`` gives one JSON
object per answer that has ended since the last such request: ``user`` of the body, the arrival, and the moment of each
write, in ns of the monotonic clock.

A loop of its own over epoll rather than asyncio: it must be on time where clients are not, and takes a core for that.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import sys
import time
from collections import deque
from functools import cache
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import Any

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
MODEL = "golden"
_SPIN_NS = 1_500_000


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(content: dict[str, Any]) -> bytes:
    return chunk(b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n")


@cache
def frames(tokens: int, chat: bool, usage: bool) -> tuple[bytes, ...]:
    """What is written, in order: tokens, then at once all that ends a stream."""
    kind = "chat.completion.chunk" if chat else "text_completion"
    head = {"id": "golden", "object": kind, "created": 0, "model": MODEL}

    def choice(text: str, reason: str | None) -> bytes:
        content = {"delta": {"content": text}} if chat else {"text": text}
        return event({**head, "choices": [{"index": 0, **content, "logprobs": None, "finish_reason": reason}]})

    ending = choice("", "length")
    if usage:
        counts = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
        ending += event({**head, "choices": [], "usage": counts})
    return (*([choice(" token", None)] * tokens), ending + chunk(b"data: [DONE]\n\n") + LAST_CHUNK)


class Peer:
    """One connection and the answer on it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.read = b""
        self.frames: deque[bytes] = deque()
        self.record: dict[str, Any] = {}


class Golden:
    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.listener.setblocking(False)
        self.poll = select.epoll()
        self.poll.register(self.listener, select.EPOLLIN)
        self.peers: dict[int, Peer] = {}
        self.due: list[tuple[int, int, Peer]] = []
        self.numbers = count()
        self.random = random.Random(1)
        self.ended: list[dict[str, Any]] = []

    def run(self) -> None:
        while True:
            # Every arrival is noted before anything is made of one.
            whole = []
            for fd, _ in self.poll.poll(self._patience()):
                if fd == self.listener.fileno():
                    self._accept()
                elif (request := self._receive(self.peers[fd])) is not None:
                    whole.append(request)
            for request in whole:
                self._answer(*request)
            while self.due and self.due[0][0] <= time.monotonic_ns():
                due_ns, _, peer = heappop(self.due)
                self._write(peer, due_ns)

    def _patience(self) -> float:
        left = self.due[0][0] - time.monotonic_ns() if self.due else 10**9
        return 0.0 if left < _SPIN_NS else (left - _SPIN_NS) / 1e9

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except BlockingIOError:
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.peers[connection.fileno()] = Peer(connection)
            self.poll.register(connection, select.EPOLLIN)

    def _receive(self, peer: Peer) -> tuple[Peer, list[bytes], bytes, int] | None:
        """A request once all of it is there, with the moment of its last byte."""
        arrived_ns = time.monotonic_ns()
        try:
            data = peer.connection.recv(2**18)
        except ConnectionError:
            data = b""
        if not data:
            self.poll.unregister(peer.connection)
            del self.peers[peer.connection.fileno()]
            peer.connection.close()
            peer.frames.clear()
            return None
        peer.read += data
        head, end, body = peer.read.partition(b"\r\n\r\n")
        lowered = head.lower()
        length = (
            int(lowered.partition(b"content-length:")[2].split(b"\r\n")[0] or 0) if b"content-length:" in lowered else 0
        )
        if end and len(body) >= length:
            peer.read = b""
            return peer, head.split(b" ", 2)[:2], body, arrived_ns
        return None

    def _answer(self, peer: Peer, request: list[bytes], body: bytes, arrived_ns: int) -> None:
        method, path = request
        if method != b"POST":
            self._tell(peer, path, body=method == b"GET")
            return
        asked = json.loads(body)
        tokens = int(asked.get("max_completion_tokens") or asked.get("max_tokens") or 16)
        usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        peer.frames = deque(frames(tokens, b"chat" in path, usage))
        peer.record = {"user": asked.get("user"), "arrived_ns": arrived_ns, "written_ns": []}
        peer.connection.send(HEAD)
        # Drawn, so that clients that send at the same moment do not get all their tokens at the same moments.
        first_ns = arrived_ns + round(TTFT_MS * self.random.uniform(0.5, 1.5) * 1e6)
        heappush(self.due, (first_ns, next(self.numbers), peer))

    def _write(self, peer: Peer, due_ns: int) -> None:
        if not peer.frames:
            return
        frame = peer.frames.popleft()
        now = time.monotonic_ns()
        try:
            peer.connection.send(frame)
        except (ConnectionError, BlockingIOError):
            peer.frames.clear()
            return
        if len(peer.frames) > 1:
            peer.record["written_ns"].append(now)
            heappush(self.due, (due_ns + GAP_NS, next(self.numbers), peer))
        elif peer.frames:
            peer.record["written_ns"].append(now)
            heappush(self.due, (due_ns, next(self.numbers), peer))
        else:
            self.ended.append(peer.record)

    def _tell(self, peer: Peer, path: bytes, *, body: bool) -> None:
        content: Any = {"object": "list", "data": [{"id": MODEL, "object": "model"}]}
        if path == b"/log":
            content, self.ended = self.ended, []
        text = json.dumps(content).encode()
        peer.connection.setblocking(True)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        peer.connection.sendall(head.encode() + (text if body else b""))
        peer.connection.setblocking(False)


TTFT_MS = float(os.environ.get("GOLDEN_TTFT_MS", "50"))
GAP_NS = round(float(os.environ.get("GOLDEN_GAP_MS", "10")) * 1e6)


def main(folder: Path, core: int | None) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    golden = Golden()
    draft = folder / "address.part"
    draft.write_text(f"http://127.0.0.1:{golden.listener.getsockname()[1]}", encoding="utf-8")
    draft.rename(folder / "address")
    golden.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
