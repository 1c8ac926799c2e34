"""The requests and answers of one connection through the relay, without input and output of its own."""

from __future__ import annotations

import hmac
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.system.http.answer import CUT, NONE
from pytest_llmperf.system.http.bodies import Body, OpenBody, choose_answer_body, choose_request_body
from pytest_llmperf.system.http.heads import ANSWER, UNASKED_SWITCH, HTTPError, parse_answer_head, parse_request_head
from pytest_llmperf.system.http.messages import Messages
from pytest_llmperf.traffic.relay.encodings import MOST_BODY_BYTES
from pytest_llmperf.traffic.relay.recorded_calls import HUNG_UP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.system.http.heads import AnswerHead, RequestHead
    from pytest_llmperf.system.http.messages import MessagePart
    from pytest_llmperf.traffic.relay.recorded_calls import RecordedCall, RecordedCalls

_HOST = re.compile(rb"(?i)\nhost:[ \t]*([^\r\n]*)")
_SWITCHING_PROTOCOLS = 101


@dataclass(slots=True)
class _Request:
    method: str
    path: str
    call: RecordedCall | None
    upgrades: bool
    keeps_open: bool


class Exchanges:
    """Matches the answers of a connection to its calls and records both.

    ``host`` replaces the ``Host`` header of each request, the only bytes that are changed. With a ``token`` each path
    must begin with it, which is taken off; a connection that brings anything else is ``refused``.
    """

    def __init__(self, recorded: RecordedCalls, host: str, token: str = "") -> None:
        self._recorded = recorded
        self._host = host.encode("latin-1")
        self._prefix = f"/{token}" if token else ""
        self.refused = False
        self._requests = Messages(self._begin_request, skips_empty_lines=True)
        self._answers = Messages(self._begin_answer, prefix=ANSWER)
        self._unanswered: deque[_Request] = deque()
        self._began_ns = 0
        self._switched = False
        self._lost = False
        self._keeps_open = False
        self._app_finished = False
        self._heading: RecordedCall | None = None
        self._asking: RecordedCall | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0

    @property
    def idle(self) -> bool:
        """Whether no call is under way: no request has begun that is not answered, and both ends still speak HTTP."""
        return not (self._unanswered or self._switched or self._lost) and self._requests.idle

    @property
    def outlives_server(self) -> bool:
        """Whether the app may go on with another connection to the server, which has ended this one: no call is under
        way, and after the last one both ends were to keep theirs.
        """
        return self.idle and self._answers.idle and self._keeps_open and not self._app_finished

    # ------------------------------------------------------------------------------------------------ from the app

    def take_request(self, data: bytes, at_ns: int) -> bytes:
        """Takes what came from the app at ``at_ns`` and returns what is to be sent to the server now."""
        if self._switched:
            return data
        wires: list[bytes] = []
        self._began_ns = self._began_ns or at_ns
        for part in self._requests.feed(data):
            if self._prefix and self._requests.fault:
                self.refused = True  # what cannot be told apart may hold a request without the token
                return b"".join(wires)
            wires.append(part.wire if part.head is None else self._address(part.wire))
            self._began_ns = at_ns
            self._keep_body(part)
        method = _find_method(self._requests.held)
        if not self._requests.held:
            self._began_ns = 0
        elif self._heading is None and method is not None and not self._prefix:
            self._heading = self._recorded.begin_head(method, self._began_ns)
        if self._requests.fault and not self._lost:
            self._lost = True
            self._record_unreadable(f"the app sent something that is not HTTP/1.1: {self._requests.fault}", at_ns)
        return b"".join(wires)

    def _begin_request(self, wire: bytes) -> tuple[RequestHead, Body]:
        head = parse_request_head(wire)
        if head.method == "CONNECT":
            raise HTTPError("it asks for a tunnel")
        path = self._take_off_token(head.path)
        heading, self._heading = self._heading, None
        if heading is None:
            call = self._recorded.begin(head.method, path, self._began_ns)
        else:
            call = self._recorded.complete_head(heading, head.method, path)
        self._unanswered.append(_Request(head.method, path, call, "upgrade" in head.fields, head.keeps_open))
        self._asking = call if call is not None and self._recorded.keeps_body(call) else None
        if call is not None:
            call.body_encoding = _read_encoding(head.fields)
        return head, choose_request_body(head)

    def _keep_body(self, part: MessagePart[RequestHead]) -> None:
        """Keeps the body of the request that arrives now, unless it is too large, and hands it on once it is whole."""
        if self._asking is None:
            return
        self._body += part.content
        self._body_bytes += sum(map(len, part.content))
        if part.ended or self._body_bytes > MOST_BODY_BYTES:
            if part.ended:
                self._recorded.take_body(self._asking, self._body)
            self._asking, self._body, self._body_bytes = None, [], 0

    def _take_off_token(self, path: str) -> str:
        if not self._prefix:
            return path
        given, rest = path[: len(self._prefix)], path[len(self._prefix) :]
        if not hmac.compare_digest(given.encode("latin-1"), self._prefix.encode()) or not rest.startswith("/"):
            raise HTTPError("it lacks the token of the relay's address")
        return rest

    def _address(self, head: bytes) -> bytes:
        """Puts the server's host into the bytes of a head, and takes the token off its path."""
        if self._prefix:
            head = head.replace(f" {self._prefix}".encode(), b" ", 1)
        match = _HOST.search(head)
        return head if match is None else head[: match.start(1)] + self._host + head[match.end(1) :]

    def _record_unreadable(self, fault: str, at_ns: int) -> None:
        """Records one failed call: bytes that cannot be parsed may contain calls."""
        call, self._heading = self._heading or self._recorded.record("", at_ns), None
        self._recorded.end(call, at_ns, fault)

    # --------------------------------------------------------------------------------------------- from the server

    def take_answer(self, data: bytes, at_ns: int) -> None:
        """Takes what came from the server at ``at_ns``."""
        if self._switched:
            return
        chunk = self._answers.take_chunk(data)
        if chunk is not None:
            call = self._unanswered[0].call if self._unanswered else None
            if call is not None:
                self._recorded.add_content(call, at_ns, (chunk,))
            return
        for part in self._answers.feed(data):
            if self._unanswered:
                self._take_part(part, at_ns)
        if self._answers.fault:
            self._end_all(at_ns, f"the answer is not HTTP/1.1: {self._answers.fault}")

    def _take_part(self, part: MessagePart[AnswerHead], at_ns: int) -> None:
        call = self._unanswered[0].call
        if part.head is not None:
            if part.head.is_interim:
                return
            self._keeps_open = part.head.keeps_open and self._unanswered[0].keeps_open
            if call is None and (part.head.status == _SWITCHING_PROTOCOLS or _is_stream(part.head)):
                call = self._record_late(self._unanswered[0], at_ns)
            if call is not None:
                self._describe(call, part.head)
        if call is not None:
            self._recorded.add_content(call, at_ns, part.content)
        if part.ended:
            self._complete(at_ns)

    def _begin_answer(self, wire: bytes) -> tuple[AnswerHead, Body]:
        head = parse_answer_head(wire)
        if not self._unanswered:
            raise HTTPError("it answers no request")
        if head.status != _SWITCHING_PROTOCOLS:
            return head, choose_answer_body(head, self._unanswered[0].method)
        if not self._unanswered[0].upgrades:
            raise HTTPError(UNASKED_SWITCH)
        self._switched = True
        return head, OpenBody()

    def _record_late(self, request: _Request, at_ns: int) -> RecordedCall:
        """Records a request of which only its answer shows that text may come: a WebSocket, or a stream of events."""
        request.call = self._recorded.record(request.path, at_ns, method=request.method, read=False)
        return request.call

    @staticmethod
    def _describe(call: RecordedCall, head: AnswerHead) -> None:
        call.status = head.status
        call.content_type = head.fields.get("content-type", "")
        call.content_encoding = _read_encoding(head.fields)

    def _complete(self, at_ns: int) -> None:
        call = self._unanswered.popleft().call
        if call is not None:
            self._recorded.end(call, at_ns)

    # ---------------------------------------------------------------------------------------------------- the ends

    def end_requests(self) -> None:
        """Marks the end of the app's data. Most apps have closed the connection then; some still read."""
        self._app_finished = True
        for request in self._unanswered:
            if request.call is not None:
                request.call.app_finished = True

    def end_by_app(self, at_ns: int) -> None:
        """Ends the open calls because the app has closed the connection."""
        self._end_all(at_ns, HUNG_UP, by_app=True)

    def end_unreachable(self, at_ns: int, cause: str) -> None:
        """Ends the open calls because the connection to the server failed, for a ``cause`` in a few words."""
        self._end_all(at_ns, f"the server cannot be reached: {cause}")

    def end_by_server(self, at_ns: int, reason: str = "") -> None:
        """Ends the open calls because the server has closed the connection, in order or for a ``reason``."""
        if self._answers.ends_with_connection and self._unanswered and not (reason or self._app_finished):
            self._complete(at_ns)
        if self._app_finished:
            self.end_by_app(at_ns)
        self._end_all(at_ns, reason)

    def _end_all(self, at_ns: int, fault: str, *, by_app: bool = False) -> None:
        begun = bool(self._answers.held)
        for request in self._unanswered:
            if request.call is not None:
                cause = fault or (CUT if begun or request.call.status is not None else NONE)
                self._recorded.end(request.call, at_ns, cause, by_app=by_app)
            begun = False
        self._unanswered.clear()
        if self._heading is not None:
            cause = fault or "the server closed the connection in the middle of the request"
            self._recorded.end(self._heading, at_ns, cause, by_app=by_app)
            self._heading = None


def _find_method(held: bytes) -> str | None:
    """The method in a part of a head, "" if it is not whole yet; None if there is no more than half a line break."""
    word, space, _ = held.lstrip(b"\r").partition(b" ")
    return None if not word else word.decode("latin-1") * bool(space)


def _is_stream(head: AnswerHead) -> bool:
    return head.fields.get("content-type", "").lower().startswith("text/event-stream")


def _read_encoding(fields: Mapping[str, str]) -> str:
    return fields.get("content-encoding", "").lower()
