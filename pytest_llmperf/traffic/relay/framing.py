"""Finds where HTTP/1.1 messages begin and end in bytes that are split anywhere.

It parses what is needed to follow a connection and checks nothing else; the receiver refuses what is wrong.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_HEAD_END = re.compile(rb"\n\r?\n")
_HEX = re.compile(rb"[0-9A-Fa-f]{1,15}")
_REQUEST_LINE = re.compile(rb"(\S+) (\S+) HTTP/1\.[01]")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: .*)?")
_LONGEST_HEAD = 1 << 20
_MOST_DIGITS = 18
_LONGEST_LINE = 1 << 16


class FramingError(Exception):
    """The bytes are not HTTP/1.1; the message says what is wrong without quoting them."""


class Head(NamedTuple):
    """The start line of a message and its header fields, with names in lower case."""

    start: bytes
    fields: Mapping[bytes, bytes]

    @staticmethod
    def parse(wire: bytes) -> Head:
        """Parses the bytes of a whole head."""
        start, *lines = wire.strip(b"\r\n").split(b"\n")
        pairs = [line.partition(b":") for line in lines]
        return Head(start.rstrip(b"\r"), {name.lower(): value.strip() for name, _, value in pairs})

    def parse_request_line(self) -> tuple[str, str]:
        """Returns the method and the path, without a query.

        Raises:
            FramingError: this is not the head of a request.
        """
        match = _REQUEST_LINE.fullmatch(self.start)
        if match is None:
            raise FramingError("it does not begin with a request line")
        return match[1].decode("latin-1"), match[2].partition(b"?")[0].decode("latin-1")

    def parse_status(self) -> int:
        """Returns the status of an answer.

        Raises:
            FramingError: this is not the head of an answer.
        """
        match = _STATUS_LINE.fullmatch(self.start)
        if match is None:
            raise FramingError("it does not begin with a status line")
        return int(match[1])

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self.fields.get(b"transfer-encoding", b"").lower().endswith(b"chunked")

    def parse_length(self) -> int | None:
        """Returns the stated length of the body in bytes; None if it is not stated.

        Raises:
            FramingError: the length is not a number.
        """
        text = self.fields.get(b"content-length")
        if text is not None and not (text.isdigit() and len(text) <= _MOST_DIGITS):
            raise FramingError("its Content-Length is not a number")
        return None if text is None else int(text)


# ------------------------------------------------------------------------------------------------------------- bodies


class Body(Protocol):
    """The body of one message; ``ended`` says whether all of it has been taken."""

    ended: bool

    def take(self, data: bytes, found: list[bytes]) -> int:
        """Returns how many bytes of ``data`` belong to the body, and appends their content to ``found``.

        Raises:
            FramingError: the framing is broken.
        """


class SizedBody:
    """A body of a stated length in bytes; 0 for an absent body."""

    def __init__(self, length: int = 0) -> None:
        self._left = length
        self.ended = not length

    def take(self, data: bytes, found: list[bytes]) -> int:
        """Takes up to the rest of the length."""
        content = data[: self._left]
        found.append(content)
        self._left -= len(content)
        self.ended = not self._left
        return len(content)


class OpenBody:
    """A body that ends with the connection."""

    ended = False

    def take(self, data: bytes, found: list[bytes]) -> int:
        """Takes all of ``data``."""
        found.append(data)
        return len(data)


class ChunkedBody:
    """A body in chunks, each after its size, up to an empty chunk and optional trailer fields."""

    def __init__(self) -> None:
        self.ended = False
        self._left = 0
        self._line = b""
        self._expects: Literal["size", "end of chunk", "trailer"] = "size"

    def take(self, data: bytes, found: list[bytes]) -> int:
        """Takes up to the end of the last chunk and of the trailer."""
        at = 0
        while at < len(data) and not self.ended:
            if self._left:
                content = data[at : at + self._left]
                found.append(content)
                self._left -= len(content)
                at += len(content)
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._line += data[at:]
                if len(self._line) > _LONGEST_LINE:
                    raise FramingError("a line between its chunks does not end")
                return len(data)
            line, self._line = self._line + data[at:end], b""
            at = end + 1
            self._take_line(line.rstrip(b"\r"))
        return at

    def _take_line(self, line: bytes) -> None:
        if self._expects == "trailer":
            self.ended = not line
        elif self._expects == "size":
            digits = line.partition(b";")[0].strip()
            if not _HEX.fullmatch(digits):
                raise FramingError("the size of a chunk is not a number")
            self._left = int(digits, 16)
            self._expects = "end of chunk" if self._left else "trailer"
        elif line:
            raise FramingError("a chunk is longer than its size")
        else:
            self._expects = "size"


def choose_request_body(head: Head) -> Body:
    """Returns the kind of body that follows the head of a request.

    Raises:
        FramingError: the head is not that of a request.
    """
    head.parse_request_line()  # raises if it is none
    if head.chunked:
        return ChunkedBody()
    return SizedBody(head.parse_length() or 0)


def choose_answer_body(head: Head, method: str) -> Body:
    """Returns the kind of body that follows the head of an answer to a request with ``method``.

    Raises:
        FramingError: the head is not that of an answer.
    """
    if method == "HEAD" or head.parse_status() in (204, 304) or 100 <= head.parse_status() < 200:
        return SizedBody()
    if head.chunked:
        return ChunkedBody()
    length = head.parse_length()
    return OpenBody() if length is None or b"transfer-encoding" in head.fields else SizedBody(length)


# ----------------------------------------------------------------------------------------------------------- messages


class MessagePart(NamedTuple):
    """A whole head, or a part of a body: its bytes on the wire, and the content in them.

    ``head`` is None for a part of a body; ``ended`` says whether the message is complete.
    """

    wire: bytes
    head: Head | None
    content: Sequence[bytes]
    ended: bool


class Messages:
    """The messages of one direction of a connection. ``body_of`` chooses the body that follows a head.

    ``fault`` is why the messages cannot be told apart, or ""; after a fault all bytes count as one body.
    """

    def __init__(self, body_of: Callable[[Head], Body]) -> None:
        self._body_of = body_of
        self._held = b""
        self._body: Body | None = None
        self.fault = ""

    @property
    def idle(self) -> bool:
        """Whether the next byte begins a message."""
        return not (self._held or self._body or self.fault)

    @property
    def within_head(self) -> bool:
        """Whether a part of a head has arrived, which is held back until the rest does."""
        return bool(self._held)

    @property
    def held_method(self) -> str | None:
        """The method in that part of a head, "" if it is not whole yet; None if there is no more than a line break."""
        word, space, _ = self._held.lstrip(b"\r\n").partition(b" ")
        return None if not word else word.decode("latin-1") * bool(space)

    @property
    def ends_with_connection(self) -> bool:
        """Whether the current message properly ends with the connection."""
        return isinstance(self._body, OpenBody)

    def feed(self, data: bytes) -> Iterator[MessagePart]:
        """Yields the parts of messages in ``data``, in order and without a gap; an unfinished head is held back."""
        while data:
            if self.fault:
                yield MessagePart(data, None, (), ended=False)
                return
            try:
                part, data = self._in_body(self._body, data) if self._body else self._in_head(data)
            except FramingError as error:
                self.fault = str(error)
                data, self._held = self._held + data, b""
                continue
            if part is not None:
                yield part

    def _in_head(self, data: bytes) -> tuple[MessagePart | None, bytes]:
        whole, seen = self._held + data, len(self._held)
        match = _HEAD_END.search(whole, max(0, seen - 2))
        if match is None:
            if len(whole) > _LONGEST_HEAD:
                raise FramingError("its head does not end")
            self._held = whole
            return None, b""
        wire = whole[: match.end()]
        head = Head.parse(wire)
        body = self._body_of(head)
        self._held = b""
        self._body = None if body.ended else body
        return MessagePart(wire, head, (), body.ended), whole[match.end() :]

    def _in_body(self, body: Body, data: bytes) -> tuple[MessagePart, bytes]:
        found: list[bytes] = []
        stop = body.take(data, found)
        if body.ended:
            self._body = None
        return MessagePart(data[:stop], None, found, body.ended), data[stop:]
