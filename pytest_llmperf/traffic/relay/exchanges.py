"""One connection through the relay: which answer belongs to which call, free of any input and output."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.traffic.relay.framing import Body, FramingError, Head, Messages, OpenBody, answer_body, request_body

if TYPE_CHECKING:
    from pytest_llmperf.traffic.relay.recorded_calls import Ledger, Relayed

_HOST = re.compile(rb"(?i)\nhost:[ \t]*([^\r\n]*)")
_LENGTH = re.compile(rb"(?i)\ncontent-length:[ \t]*(\d+)[ \t]*\r")
_CHUNKED = re.compile(rb"(?i)\ntransfer-encoding:")
_HEAD_END = b"\r\n\r\n"
_SWITCHING_PROTOCOLS = 101
HUNG_UP = "the app closed the connection before the answer was complete"


@dataclass(slots=True)
class _Request:
    method: str
    call: Relayed | None


class Conversation:
    """Follows both directions. ``host`` is what the server expects in the one header that is changed."""

    def __init__(self, ledger: Ledger, host: str) -> None:
        self._ledger = ledger
        self._host = host.encode("latin-1")
        self._requests = Messages(self._request_body)
        self._answers = Messages(self._answer_body)
        self._unanswered: deque[_Request] = deque()
        self._began_ns = 0
        self._switched = False
        self._lost = False
        self._app_finished = False

    # ------------------------------------------------------------------------------------------------ from the app

    def at_once(self, data: bytes) -> bytes | None:
        """What the server may get for ``data`` before :meth:`request` looks at it, which gives the same.

        Most calls are one head and no more behind it than its body; None for all others.
        """
        end = data.find(_HEAD_END)
        if end < 0 or self._switched or not self._requests.idle or _CHUNKED.search(data, 0, end):
            return None
        length = _LENGTH.search(data, 0, end + 1)
        if length is None or len(data) - end - len(_HEAD_END) > int(length[1]):
            return None
        return self._addressed(data, end)

    def request(self, data: bytes, at_ns: int) -> bytes:
        """What the server shall get now for what has come from the app."""
        if self._switched:
            return data
        wires = []
        self._began_ns = self._began_ns or at_ns
        for part in self._requests.feed(data):
            wires.append(part.wire if part.head is None else self._addressed(part.wire, len(part.wire)))
            self._began_ns = at_ns
        if not self._requests.within_head:
            self._began_ns = 0
        if self._requests.fault and not self._lost:
            self._lost = True
            self._lose(f"the app sent something that is not HTTP/1.1: {self._requests.fault}", at_ns)
        return b"".join(wires)

    def _request_body(self, head: Head) -> Body:
        body = request_body(head)
        method, path = head.request()
        self._unanswered.append(_Request(method, self._ledger.begin(method, path, self._began_ns)))
        return body

    def _addressed(self, wire: bytes, end: int) -> bytes:
        """With the server's host in the head, which goes as far as ``end``."""
        match = _HOST.search(wire, 0, end)
        return wire if match is None else wire[: match.start(1)] + self._host + wire[match.end(1) :]

    def _lose(self, fault: str, at_ns: int) -> None:
        """Calls may hide behind what cannot be read: at least one counts as failed."""
        call = self._ledger.note("", at_ns)
        if call is not None:
            self._ledger.end(call, at_ns, fault)

    # --------------------------------------------------------------------------------------------- from the server

    def answer(self, data: bytes, at_ns: int) -> None:
        """Looks at what has come from the server, and was passed on already."""
        if self._switched:
            return
        for part in self._answers.feed(data):
            if self._answers.fault or not self._unanswered:
                break
            call = self._unanswered[0].call
            if part.head is not None:
                if 100 <= part.head.status() < 200 and not self._switched:
                    continue
                if call is not None:
                    self._describe(call, part.head)
            if call is not None:
                self._ledger.keep(call, at_ns, part.content)
            if part.ended:
                self._complete(at_ns)
        if self._answers.fault:
            self._give_up(at_ns, f"the answer is not HTTP/1.1: {self._answers.fault}")

    def _answer_body(self, head: Head) -> Body:
        status = head.status()
        if not self._unanswered:
            raise FramingError("nobody asked for it")
        if status == _SWITCHING_PROTOCOLS:
            self._switched = True
            return OpenBody()
        return answer_body(head, self._unanswered[0].method)

    @staticmethod
    def _describe(call: Relayed, head: Head) -> None:
        call.status = head.status()
        call.content_type = head.fields.get(b"content-type", b"").decode("latin-1")
        call.content_encoding = head.fields.get(b"content-encoding", b"").decode("latin-1").lower()

    def _complete(self, at_ns: int) -> None:
        call = self._unanswered.popleft().call
        if call is not None:
            self._ledger.end(call, at_ns)

    # ---------------------------------------------------------------------------------------------------- the ends

    def app_finished(self) -> None:
        """The app sends no more. Most have left then, and some still read: what the server does tells."""
        self._app_finished = True

    def app_left(self, at_ns: int) -> None:
        self._give_up(at_ns, HUNG_UP, by_app=True)

    def unreachable(self, at_ns: int, cause: str) -> None:
        """There was no connection to the server, and will be none."""
        self._give_up(at_ns, f"the server cannot be reached: {cause}")

    def server_left(self, at_ns: int, reason: str = "") -> None:
        """The server's side of the connection has ended, in order or for a ``reason``."""
        if self._answers.ends_with_connection and self._unanswered and not (reason or self._app_finished):
            self._complete(at_ns)
        if self._app_finished:
            self.app_left(at_ns)
        self._give_up(at_ns, reason)

    def _give_up(self, at_ns: int, fault: str, *, by_app: bool = False) -> None:
        for request in self._unanswered:
            if request.call is not None:
                where = "without an answer" if request.call.status is None else "in the middle of the answer"
                cause = fault or f"the server closed the connection {where}"
                self._ledger.end(request.call, at_ns, cause, by_app=by_app)
        self._unanswered.clear()
