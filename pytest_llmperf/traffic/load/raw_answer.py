"""A raw HTTP/1.1 answer: its bytes are kept as they arrive and parsed after the load has ended.

While bytes arrive, only the end of the answer is looked for; the usual end of a stream is recognised by its last bytes.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from pytest_llmperf.traffic.client.exchange import TransportError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HEAD_END = b"\r\n\r\n"
# A line break inside JSON is escaped, so these bytes cannot stand inside an event.
_STREAM_END = b"data: [DONE]\n\n\r\n0\r\n\r\n"
_LONGEST_HEAD = 2**16
_MOST_DIGITS = 18
_WITHOUT_BODY = (204, 304)
_SIZE = re.compile(rb"[0-9a-fA-F]+")
_Framing = Literal["", "chunked", "length", "until closed"]


class RawAnswer:
    """One answer: its bytes in ``parts`` as they arrived, the moments in ``stamps`` (ns).

    ``status`` and ``headers`` are known once the head is complete. ``reusable`` says whether the connection may carry
    another request.
    """

    __slots__ = (
        *("_body_at", "_framing", "_left", "_looked_at", "_tail", "_unparsed"),
        *("headers", "parts", "reusable", "stamps", "status"),
    )

    def __init__(self) -> None:
        self.stamps: list[int] = []
        self.parts: list[bytes] = []
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}
        self.reusable = False
        self._framing: _Framing = ""
        self._body_at = 0
        self._left = 0
        self._tail = b""
        # The parts that have been looked at for the last chunk, and their bytes from the first unfinished chunk on.
        self._looked_at = 0
        self._unparsed = bytearray()

    def take(self, data: bytes, at_ns: int) -> bool:
        """Adds what arrived at ``at_ns``; returns whether the answer is complete.

        Raises:
            TransportError: the bytes are not HTTP/1.1.
        """
        self.stamps.append(at_ns)
        self.parts.append(data)
        if self._framing == "chunked":
            self._tail = data if len(data) >= len(_STREAM_END) else (self._tail + data)[-len(_STREAM_END) :]
            return self._tail.endswith(_HEAD_END) and (self._tail.endswith(_STREAM_END) or self._chunks_end())
        if self._framing == "length":
            self._left -= len(data)
            return self._left <= 0
        return not self._framing and self._take_head()

    @property
    def ends_with_connection(self) -> bool:
        """Whether the end of the connection is the end of the answer."""
        return self._framing == "until closed"

    def parse_body(self) -> tuple[list[tuple[int, bytes]], str]:
        """Returns the pieces of the body as (stamp, bytes), and why the body is not complete, or ""."""
        pieces = self._plain_chunks()
        taken = len(pieces) + 1 if pieces else 0
        parts, stamps = self.parts[taken:], self.stamps[taken:]
        whole = b"".join(parts)
        ends = list(accumulate(map(len, parts)))
        part = 0
        try:
            for start, stop in self._spans(whole, 0 if taken else self._body_at):
                while start < stop:
                    while ends[part] <= start:
                        part += 1
                    upto = min(stop, ends[part])
                    pieces.append((stamps[part], whole[start:upto]))
                    start = upto
        except TransportError as error:
            return pieces, str(error)
        return pieces, ""

    def _plain_chunks(self) -> list[tuple[int, bytes]]:
        """Parses the leading chunks that each arrived in one piece, as most do, after a head that did too."""
        pieces: list[tuple[int, bytes]] = []
        if self._framing != "chunked" or len(self.parts[0]) != self._body_at:
            return pieces
        for at_ns, part in zip(self.stamps[1:], self.parts[1:], strict=True):
            size, _, rest = part.partition(b"\r\n")
            if (
                _SIZE.fullmatch(size) is None
                or int(size, 16) != len(rest) - 2
                or rest[-2:] != b"\r\n"
                or len(rest) == 2
            ):
                break
            pieces.append((at_ns, rest[:-2]))
        return pieces

    def _spans(self, whole: bytes, at: int) -> Iterator[tuple[int, int]]:
        if self._framing == "chunked":
            return _chunks(whole, at)
        return iter([(at, len(whole))] if self.status is not None else [])

    def _take_head(self) -> bool:
        whole = b"".join(self.parts)
        end = whole.find(_HEAD_END, self._body_at)
        if end < 0:
            if len(whole) > _LONGEST_HEAD:
                raise TransportError("the answer is not HTTP/1.1: its head does not end")
            return False
        first, *lines = whole[self._body_at : end].decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise TransportError(f"the answer is not HTTP/1.1: it begins with {first[:40]!r}")
        self._body_at = end + len(_HEAD_END)
        status = int(rest[:3])
        if status < 200:
            return self._take_head()
        self.status = status
        fields = (line.partition(":") for line in lines)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        return self._begin_body(version, whole)

    def _begin_body(self, version: str, whole: bytes) -> bool:
        connection = self.headers.get("connection", "").lower()
        self.reusable = version == "HTTP/1.1" and "close" not in connection
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            self._framing = "chunked"
            self._tail = whole[self._body_at :][-len(_STREAM_END) :]
            return self._tail.endswith(_HEAD_END) and self._chunks_end()
        length = "0" if self.status in _WITHOUT_BODY else self.headers.get("content-length", "")
        if len(length) > _MOST_DIGITS:
            raise TransportError(f"the answer is not HTTP/1.1: its Content-Length has {len(length)} digits")
        if length.isdecimal():
            self._framing = "length"
            self._left = int(length) - (len(whole) - self._body_at)
            return self._left <= 0
        self._framing, self.reusable = "until closed", False
        return False

    def _chunks_end(self) -> bool:
        """Parses the chunks that have come since the last look, for bodies that do not end as streams do.

        Returns whether the last chunk has come. No byte is parsed twice: each event of some streams ends as a body may.
        """
        new = b"".join(self.parts[self._looked_at :])
        self._unparsed += new if self._looked_at else new[self._body_at :]
        self._looked_at = len(self.parts)
        parsed = 0
        try:
            for _, stop in _chunks(self._unparsed, 0):
                parsed = stop + 2 if stop + 2 <= len(self._unparsed) else parsed
        except _UnfinishedError:
            del self._unparsed[:parsed]
            return False
        return True


class _UnfinishedError(TransportError):
    """The body is not complete yet."""


def _chunks(whole: bytes | bytearray, at: int) -> Iterator[tuple[int, int]]:
    """Yields start and stop of the data of each chunk of a body that begins at offset ``at``.

    Raises:
        TransportError: the body is not chunked; :class:`_UnfinishedError` if it is not complete.
    """
    while True:
        line_end = whole.find(b"\r\n", at)
        if line_end < 0:
            raise _UnfinishedError("the server closed the connection in the middle of the answer")
        text = bytes(whole[at:line_end]).partition(b";")[0].strip()
        if _SIZE.fullmatch(text) is None:
            raise TransportError(f"the answer is not HTTP/1.1: a chunk has the size {text[:20]!r}")
        size = int(text, 16)
        start, stop = line_end + 2, line_end + 2 + size
        if size == 0:
            if whole.find(b"\r\n", start) < 0:
                raise _UnfinishedError("the server closed the connection in the middle of the answer")
            return
        yield start, min(stop, len(whole))
        if len(whole) < stop + 2:
            raise _UnfinishedError("the server closed the connection in the middle of the answer")
        at = stop + 2
