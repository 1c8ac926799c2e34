"""HTTP/1.1 for the simulated engine: one asyncio protocol per connection."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from pytest_llmperf.system.http.bodies import choose_request_body
from pytest_llmperf.system.http.heads import parse_request_head, write_head
from pytest_llmperf.system.http.messages import Messages

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from pytest_llmperf.system.http.bodies import Body
    from pytest_llmperf.system.http.heads import RequestHead

    Handler = Callable[["Connection", str, str, bytes, int], Coroutine[Any, Any, None]]

_EVENT_STREAM = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")]
_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Request(NamedTuple):
    head: RequestHead
    body: bytes
    received_ns: int


class Connection(asyncio.Protocol):
    """One client's connection; ``handler(connection, method, path, body, arrived_ns)`` answers each request.

    The handler is cancelled when the client goes away. asyncio sets TCP_NODELAY, and a write goes straight to
    the socket while its buffer has room.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._messages = Messages(_begin, skips_empty_lines=True)
        self._head: RequestHead | None = None
        self._body = bytearray()
        self._waiting: deque[_Request] = deque()
        self._answering: RequestHead | None = None
        self._answer: Literal["not begun", "begun", "whole"] = "whole"
        self._task: asyncio.Task[None] | None = None

    # --- what handlers use

    def respond(self, status: int, payload: Mapping[str, Any], *, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answers with a JSON body, in one write."""
        self._respond(status, json.dumps(payload), [("content-type", "application/json"), *headers])

    def respond_text(self, text: str) -> None:
        """Answers with a text, such as a page of metrics."""
        self._respond(200, text, [("content-type", "text/plain; version=0.0.4; charset=utf-8")])

    def _respond(self, status: int, content: str, headers: list[tuple[str, str]]) -> None:
        body = content.encode()
        head = self._write_head(status, [*headers, ("content-length", str(len(body)))])
        # a HEAD request has the headers of its answer and no body
        is_head = self._answering is not None and self._answering.method == "HEAD"
        self._answer = "whole"
        self.write(head if is_head else head + body)

    def event(self, data: bytes) -> bytes:
        """The bytes to write for one server-sent event; the response's headers come before the first."""
        head = b""
        if self._answer == "not begun":
            chunks = [("transfer-encoding", "chunked")] if self._takes_chunks else []
            head = self._write_head(200, [*_EVENT_STREAM, *chunks])
            self._answer = "begun"
        return head + (b"%x\r\n%b\r\n" % (len(data), data) if self._takes_chunks else data)

    def last_event(self, data: bytes) -> bytes:
        """As :meth:`event`, with the end of the response after it."""
        event = self.event(data)
        self._answer = "whole"
        return event + (b"0\r\n\r\n" if self._takes_chunks else b"")

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        """Closes the connection after what has been written, however incomplete the response."""
        self._transport.close()

    @property
    def _takes_chunks(self) -> bool:
        """Whether the client knows chunks; an answer without them ends with the connection."""
        return self._answering is not None and not self._answering.is_old

    def _write_head(self, status: int, headers: list[tuple[str, str]]) -> bytes:
        stays_open = self._answering is not None and self._answering.keeps_open
        closing = [] if stays_open else [("connection", "close")]
        return write_head(f"HTTP/1.1 {status} ", [*headers, *closing])

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        received_ns = time.monotonic_ns()
        for part in self._messages.feed(data):
            if part.head is not None:
                self._head = part.head
                self._body.clear()
                if not part.ended and "100-continue" in part.head.fields.get("expect", "").lower():
                    self.write(_GO_ON)
            self._body += b"".join(part.content)
            if part.ended and self._head is not None:
                self._waiting.append(_Request(self._head, bytes(self._body), received_ns))
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    # --- one request after another

    def _advance(self) -> None:
        if self._task is not None:
            return
        if self._waiting:
            head, body, received_ns = self._waiting.popleft()
            self._answering, self._answer = head, "not begun"
            answering = self._handler(self, head.method, head.path, body, received_ns)
            self._task = asyncio.get_running_loop().create_task(answering)
            self._task.add_done_callback(self._finish_answer)
        elif self._messages.fault:
            self._answering = None
            text = f"the request is not HTTP/1.1: {self._messages.fault}"
            self.respond(400, {"error": {"message": text, "type": "invalid_request_error", "code": 400}})
            self._transport.close()

    def _finish_answer(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled() or self._transport.is_closing():
            return
        whole = task.exception() is None and self._answer == "whole"
        if not (whole and self._answering is not None and self._answering.keeps_open):
            self._transport.close()
            task.result()
            return
        self._advance()


def _begin(wire: bytes) -> tuple[RequestHead, Body]:
    head = parse_request_head(wire)
    return head, choose_request_body(head)
