"""The bodies of HTTP/1.1 messages: where they end, and the content in them, in bytes that are split anywhere."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Protocol

from pytest_llmperf.system.http.heads import LONGEST_HEAD, HTTPError, parse_fields

if TYPE_CHECKING:
    from pytest_llmperf.system.http.heads import AnswerHead, RequestHead

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?\r")
_LONGEST_LINE = 1 << 12
_LONG_LINE = "a line between its chunks does not end"
_BARE_LINE_FEED = "a line between its chunks ends without a carriage return"
# An answer to one of these methods, or with one of these statuses, has no body whatever its head says.
_WITHOUT_BODY = (204, 304)


class Body(Protocol):
    """The body of one message; ``ended`` says whether all of it has been taken."""

    ended: bool

    def take(self, data: bytes, at: int, found: list[bytes]) -> int:
        """Takes what belongs to the body of ``data`` from offset ``at`` on, and appends its content to ``found``.

        Returns the offset of the first byte behind it.

        Raises:
            HTTPError: the framing is broken.
        """


class SizedBody:
    """A body of a stated length in bytes; 0 for an absent body."""

    def __init__(self, length: int = 0) -> None:
        self._left = length
        self.ended = not length

    def take(self, data: bytes, at: int, found: list[bytes]) -> int:
        """Takes up to the rest of the length."""
        content = data[at : at + self._left]
        if content:
            found.append(content)
            self._left -= len(content)
            self.ended = not self._left
        return at + len(content)


class OpenBody:
    """A body that ends with the connection."""

    ended = False

    def take(self, data: bytes, at: int, found: list[bytes]) -> int:
        """Takes all."""
        if at < len(data):
            found.append(data[at:])
        return len(data)


class ChunkedBody:
    """A body in chunks, each after its size, up to an empty chunk and optional trailer fields."""

    __slots__ = ("_expects", "_is_between", "_left", "_line", "_trailer_bytes", "ended")

    def __init__(self) -> None:
        self.ended = False
        self._left = 0
        self._line = bytearray()
        self._expects: Literal["size", "end of chunk", "trailer"] = "size"
        self._is_between = True
        self._trailer_bytes = 0

    def take_whole(self, data: bytes) -> bytes | None:
        """Takes one whole chunk and returns its content; None, and nothing taken, if ``data`` is anything else.

        This is how the pieces of a stream come, so it is what the cost of a stream depends on.

        Raises:
            HTTPError: the framing is broken.
        """
        if self._is_between:
            line, _, rest = data.partition(b"\n")
            if len(rest) > 2 and _parse_size(line) == len(rest) - 2 and rest.endswith(b"\r\n"):
                return rest[:-2]
        return None

    def take(self, data: bytes, at: int, found: list[bytes]) -> int:
        """Takes up to the end of the last chunk and of the trailer."""
        stop = len(data)
        while at < stop and not self.ended:
            if self._left:
                content = data[at : at + self._left]
                found.append(content)
                self._left -= len(content)
                at += len(content)
            else:
                at = self._take_line(data, at, found)
        self._is_between = self._expects == "size" and not (self._left or self._line)
        return at

    def _take_line(self, data: bytes, at: int, found: list[bytes]) -> int:
        end = data.find(b"\n", at)
        self._line += data[at : at + _LONGEST_LINE + 1] if end < 0 else data[at : min(end, at + _LONGEST_LINE + 1)]
        if len(self._line) > _LONGEST_LINE:
            raise HTTPError(_LONG_LINE)
        if end < 0:
            return len(data)
        line = bytes(self._line)
        self._line.clear()
        if self._expects == "size":
            size = _parse_size(line)
            after = end + 1 + size
            if size and data[after : after + 2] == b"\r\n":  # it has come whole
                found.append(data[end + 1 : after])
                return after + 2
            self._left = size
            self._expects = "end of chunk" if size else "trailer"
        elif not line.endswith(b"\r"):
            raise HTTPError(_BARE_LINE_FEED)
        elif self._expects == "trailer":
            self._take_trailer(line[:-1])
        elif len(line) > 1:
            raise HTTPError("a chunk is longer than its size")
        else:
            self._expects = "size"
        return end + 1

    def _take_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if self._trailer_bytes > LONGEST_HEAD:
            raise HTTPError(f"its trailer is longer than {LONGEST_HEAD >> 10} KiB")
        if line:
            parse_fields([line.decode("latin-1")])
        self.ended = not line


@lru_cache(maxsize=1024)
def _parse_size(line: bytes) -> int:
    """Parses the line before a chunk, without its line feed. The chunks of a stream have few different sizes."""
    match = _SIZE_LINE.fullmatch(line)
    if len(line) > _LONGEST_LINE:
        raise HTTPError(_LONG_LINE)
    if match is None:
        raise HTTPError("the size of a chunk is not a number" if line.endswith(b"\r") else _BARE_LINE_FEED)
    return int(match[1], 16)


def choose_request_body(head: RequestHead) -> Body:
    """Returns the kind of body that follows the head of a request."""
    return ChunkedBody() if head.framing.chunked else SizedBody(head.framing.length or 0)


def choose_answer_body(head: AnswerHead, method: str) -> Body:
    """Returns the kind of body that follows the head of an answer to a request with ``method``."""
    if method == "HEAD" or head.status < 200 or head.status in _WITHOUT_BODY:
        return SizedBody()
    if head.framing.chunked:
        return ChunkedBody()
    return OpenBody() if head.framing.length is None else SizedBody(head.framing.length)
