"""The answer to one request, read as it arrives, with the stamp of each piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.system.http.bodies import Body, ChunkedBody, OpenBody, choose_answer_body
from pytest_llmperf.system.http.heads import ANSWER, UNASKED_SWITCH, HTTPError, find_end, parse_answer_head

if TYPE_CHECKING:
    from collections.abc import Mapping

CUT = "the server closed the connection in the middle of the answer"
NONE = "the server closed the connection without an answer"


class TimedAnswer:
    """One answer to a request with ``method``.

    Attributes:
        pieces: content of the body as (stamp, bytes), in order, without the framing. Stamps are ns.
        status: None until the head is whole; ``reason`` are its words.
        headers: by their names in lower case.
        keeps_open: whether the server lets the connection carry another request.
        last_ns: the stamp of the latest arrival; None before any.
        complete: whether all of it has come.
    """

    __slots__ = (
        *("_body", "_chunked", "_held", "_method", "_more"),
        *("complete", "headers", "keeps_open", "last_ns", "pieces", "reason", "status"),
    )

    def __init__(self, method: str = "POST") -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.status: int | None = None
        self.reason = ""
        self.headers: Mapping[str, str] = {}
        self.last_ns: int | None = None
        self.complete = False
        self._method = method
        self._held = bytearray()
        self._body: Body | None = None
        self._chunked: ChunkedBody | None = None
        self.keeps_open = False
        self._more = False

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request: the answer is complete, and no byte came after it."""
        return self.complete and self.keeps_open and not self._more

    @property
    def ends_with_connection(self) -> bool:
        """Whether the end of the connection is the end of the answer."""
        return isinstance(self._body, OpenBody)

    def take(self, data: bytes, at_ns: int) -> bool:
        """Takes what arrived at ``at_ns``; returns whether the answer is complete.

        Raises:
            HTTPError: it is not HTTP/1.1, or may be read in two ways.
        """
        self.last_ns = at_ns
        body = self._body
        if body is None:
            return self._take_head(data, at_ns)
        if self._chunked is not None and (content := self._chunked.take_whole(data)) is not None:
            self.pieces.append((at_ns, content))
            return False
        return self._take_body(body, data, 0, at_ns)

    def why_incomplete(self) -> str:
        """Why an answer whose connection has ended is not complete, or ""."""
        if self.complete or self.ends_with_connection:
            return ""
        return CUT if self._held or self.status is not None else NONE

    def _take_body(self, body: Body, data: bytes, at: int, at_ns: int) -> bool:
        found: list[bytes] = []
        try:
            stop = body.take(data, at, found)
        finally:
            for content in found:
                self.pieces.append((at_ns, content))
        if body.ended:
            self.complete, self._more = True, stop < len(data)
        return body.ended

    def _take_head(self, data: bytes, at_ns: int) -> bool:
        seen = len(self._held)
        self._held += data
        while (end := find_end(self._held, seen=seen, prefix=ANSWER)) > 0:
            head = parse_answer_head(bytes(self._held[:end]))
            del self._held[:end]
            seen = 0
            if head.is_interim:
                continue
            if head.status < 200:
                raise HTTPError(UNASKED_SWITCH)
            self.status, self.reason, self.headers = head.status, head.reason, head.fields
            self.keeps_open = head.keeps_open
            self._body = choose_answer_body(head, self._method)
            self._chunked = self._body if isinstance(self._body, ChunkedBody) else None
            rest = bytes(self._held)
            self._held.clear()
            return self._take_body(self._body, rest, 0, at_ns)
        return False
