"""HTTP/1.1 for the simulated engine: one asyncio protocol per connection, parsed by h11."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, cast

import h11

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    Handler = Callable[["Connection", str, str, bytes, int], Coroutine[Any, Any, None]]

_EVENT_STREAM = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")]


class Connection(asyncio.Protocol):
    """One client's connection; ``handler(connection, method, path, body, arrived_ns)`` answers each request.

    The handler is cancelled when the client goes away. asyncio sets TCP_NODELAY, and a write goes straight to
    the socket while its buffer has room.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._http = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._received_ns = 0
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
        headers.append(("content-length", str(len(body))))
        head = self._encode(h11.Response(status_code=status, headers=headers))
        # a HEAD request has the headers of its answer and no body
        is_head = self._request is not None and self._request.method == b"HEAD"
        data = b"" if is_head else self._encode(h11.Data(data=body))
        self.write(head + data + self._encode(h11.EndOfMessage()))

    def event(self, data: bytes) -> bytes:
        """The bytes to write for one server-sent event; the response's headers come before the first."""
        head = b""
        if self._http.our_state is h11.SEND_RESPONSE:
            head = self._encode(h11.Response(status_code=200, headers=_EVENT_STREAM))
        return head + self._encode(h11.Data(data=data))

    def last_event(self, data: bytes) -> bytes:
        """As :meth:`event`, with the end of the response after it."""
        return self.event(data) + self._encode(h11.EndOfMessage())

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        """Closes the connection after what has been written, however incomplete the response."""
        self._transport.close()

    def _encode(self, event: h11.Response | h11.InformationalResponse | h11.Data | h11.EndOfMessage) -> bytes:
        return self._http.send(event) or b""

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received_ns = time.monotonic_ns()
        self._http.receive_data(data)
        if self._task is None:
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    # --- what the parser finds

    def _advance(self) -> None:
        try:
            while (event := self._http.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                self._take(event)
        except h11.RemoteProtocolError as error:
            self._refuse(error)
            return
        if self._http.they_are_waiting_for_100_continue:
            self.write(self._encode(h11.InformationalResponse(status_code=100, headers=[])))

    def _take(self, event: object) -> None:
        if isinstance(event, h11.Request):
            self._request = event
            self._body.clear()
        elif isinstance(event, h11.Data):
            self._body += event.data
        elif isinstance(event, h11.EndOfMessage) and self._request is not None:
            method, target = (
                self._request.method.decode("ascii"),
                self._request.target.decode("ascii", "replace"),
            )
            path = target.partition("?")[0]
            answering = self._handler(self, method, path, bytes(self._body), self._received_ns)
            self._task = asyncio.get_running_loop().create_task(answering)
            self._task.add_done_callback(self._finish_answer)

    def _finish_answer(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled() or self._transport.is_closing():
            return
        if task.exception() is not None or self._http.our_state is not h11.DONE:
            self._transport.close()
            task.result()
            return
        self._http.start_next_cycle()
        self._advance()

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            payload = {"error": {"message": str(error), "type": "invalid_request_error", "code": 400}}
            self.respond(error.error_status_hint, payload)
        self._transport.close()
