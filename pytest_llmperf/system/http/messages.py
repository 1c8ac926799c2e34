"""The messages of one direction of a connection, in bytes that are split anywhere, with every byte accounted for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from pytest_llmperf.system.http.bodies import Body, ChunkedBody, OpenBody
from pytest_llmperf.system.http.heads import LONGEST_HEAD, HTTPError, find_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HeadT = TypeVar("HeadT")
_EMPTY_LINE = b"\r\n"


class MessagePart(NamedTuple, Generic[HeadT]):
    """A whole head, or a part of a body: its bytes on the wire, and the content in them.

    ``head`` is None for a part of a body; ``ended`` says whether the message is complete.
    """

    wire: bytes
    head: HeadT | None
    content: Sequence[bytes]
    ended: bool


class Messages(Generic[HeadT]):
    """The messages of one direction of a connection. ``begin`` parses the bytes of a head and chooses its body.

    ``fault`` is why the messages cannot be told apart, or ""; after a fault all bytes count as one body. Every
    head must begin with ``prefix``. With ``skips_empty_lines`` a message may come after empty lines, as a request may.
    """

    def __init__(
        self, begin: Callable[[bytes], tuple[HeadT, Body]], *, prefix: bytes = b"", skips_empty_lines: bool = False
    ) -> None:
        self._begin = begin
        self._prefix = prefix
        self._skips_empty_lines = skips_empty_lines
        self._held = bytearray()
        self._body: Body | None = None
        self.fault = ""

    @property
    def idle(self) -> bool:
        """Whether the next byte begins a message."""
        return not (self._held or self._body or self.fault)

    @property
    def held(self) -> bytes:
        """The part of a head that has arrived, which is held back until the rest does."""
        return bytes(self._held)

    @property
    def ends_with_connection(self) -> bool:
        """Whether the current message properly ends with the connection."""
        return isinstance(self._body, OpenBody)

    def take_chunk(self, data: bytes) -> bytes | None:
        """Takes one whole chunk of a body and returns its content; None, and nothing taken, if it is anything else.

        It is a short way for what :meth:`feed` does as well.
        """
        if not isinstance(self._body, ChunkedBody) or self.fault:
            return None
        try:
            return self._body.take_whole(data)
        except HTTPError:
            return None  # nothing is taken: it fails again where it is fed

    def feed(self, data: bytes) -> Iterator[MessagePart[HeadT]]:
        """Yields the parts of messages in ``data``, in order and without a gap; an unfinished head is held back.

        The part in which a fault is found holds all the rest, and the content before the fault.
        """
        at = 0
        while at < len(data):
            if self.fault:
                yield MessagePart(data[at:], None, (), ended=False)
                return
            part, at = self._take_head(data, at) if self._body is None else self._take_body(self._body, data, at)
            if part is not None:
                yield part

    def _take_body(self, body: Body, data: bytes, at: int) -> tuple[MessagePart[HeadT], int]:
        found: list[bytes] = []
        try:
            stop = body.take(data, at, found)
        except HTTPError as error:
            self.fault = str(error)
            stop = len(data)
        if body.ended:
            self._body = None
        return MessagePart(data[at:stop], None, found, body.ended), stop

    def _take_head(self, data: bytes, at: int) -> tuple[MessagePart[HeadT] | None, int]:
        """Takes up to the end of a head, or holds back all of ``data`` from offset ``at`` on."""
        seen = len(self._held)
        if seen:
            self._held += data[at : at + LONGEST_HEAD]
            source, begin = bytes(self._held), 0
        else:
            source, begin = data, at
        if self._skips_empty_lines and source.startswith(_EMPTY_LINE, begin):
            self._held.clear()
            return MessagePart(_EMPTY_LINE, None, (), ended=False), at + len(_EMPTY_LINE) - seen
        try:
            end = find_end(source, begin, seen, self._prefix)
            if end < 0:
                self._held[:] = source[begin:]
                return None, len(data)
            wire = source[begin:end]
            head, self._body = self._begin(wire)
        except HTTPError as error:
            self.fault = str(error)
            rest = bytes(self._held[:seen]) + data[at:]
            self._held.clear()
            return MessagePart(rest, None, (), ended=False), len(data)
        self._held.clear()
        if self._body.ended:
            self._body = None
        return MessagePart(wire, head, (), self._body is None), at + len(wire) - seen
