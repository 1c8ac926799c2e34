"""What the load client and its parent say to each other: frames, requests one way, timings in a few bytes the other."""

from __future__ import annotations

import json
import struct
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.chunks import PackedChunks
from pytest_llmperf.measurement.request import RequestTiming

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PLAN, REQUEST, END = b"P", b"R", b"E"
PROGRESS, TIMINGS, SUMMARY = b"p", b"t", b"s"

_FRAME = struct.Struct("<cI")
_ORDER = struct.Struct("<IqqBI")
_TIMING = struct.Struct("<IqqqqqqhBIII")
_STREAMED, _SHARED, _COUNTED, _ONES, _KINDS, _WIDE = 1, 2, 4, 8, 16, 32
_NONE = -1


def frame(kind: bytes, payload: bytes) -> bytes:
    return _FRAME.pack(kind, len(payload)) + payload


class Frames:
    """Puts frames together from bytes that come in any pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def take(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        self._buffer += data
        at = 0
        while len(self._buffer) >= at + _FRAME.size:
            kind, size = _FRAME.unpack_from(self._buffer, at)
            start = at + _FRAME.size
            if len(self._buffer) < start + size:
                break
            yield kind, bytes(self._buffer[start : start + size])
            at = start + size
        del self._buffer[:at]


@dataclass
class Order:
    """A script to send: the body of its first request, and [content, max_tokens] of each further turn.

    ``number`` is that of its first request, the turns count on from it. ``due_ns`` counts from the start, None for as
    soon as a user is free.
    """

    number: int
    body: bytes
    due_ns: int | None = None
    think_ns: int = 0
    shared: bool = False
    further: list[tuple[Any, int]] = field(default_factory=list)

    def pack(self) -> bytes:
        due_ns = _NONE if self.due_ns is None else self.due_ns
        rest = json.dumps(self.further).encode() if self.further else b""
        return _ORDER.pack(self.number, due_ns, self.think_ns, self.shared, len(self.body)) + self.body + rest

    @staticmethod
    def unpack(data: bytes) -> Order:
        number, due_ns, think_ns, shared, size = _ORDER.unpack_from(data)
        body, rest = data[_ORDER.size : _ORDER.size + size], data[_ORDER.size + size :]
        further = [(content, tokens) for content, tokens in json.loads(rest)] if rest else []
        return Order(number, body, None if due_ns == _NONE else due_ns, think_ns, bool(shared), further)


class Strings:
    """Texts that many timings share, by number; 0 is none."""

    def __init__(self) -> None:
        self._numbers: dict[str | None, int] = {None: 0}

    def number(self, text: str | None) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def known(self) -> list[str | None]:
        return list(self._numbers)


def pack_timing(number: int, timing: RequestTiming, strings: Strings) -> bytes:
    packed = PackedChunks.pack(timing.chunks)
    flags = _STREAMED * timing.streamed | _SHARED * timing.shared_prefix
    rest = b""
    if isinstance(packed, PackedChunks):
        counted = packed.tokens is not None
        flags |= _COUNTED * counted | _ONES * (counted and not packed.tokens) | _KINDS * bool(packed.kinds)
        flags |= _WIDE * (packed.gaps.typecode == "q")
        rest = struct.pack("<q", packed.first_ns) + packed.gaps.tobytes() + packed.kinds
        rest += packed.tokens.tobytes() if packed.tokens is not None else b""
    counts = (timing.output_tokens, timing.prompt_tokens, timing.cached_tokens)
    head = _TIMING.pack(
        number,
        timing.sent_ns,
        timing.end_ns,
        _NONE if timing.scheduled_ns is None else timing.scheduled_ns,
        *(_NONE if count is None else count for count in counts),
        _NONE if timing.status is None else timing.status,
        flags,
        strings.number(timing.finish_reason),
        strings.number(timing.error),
        len(timing.chunks),
    )
    return head + rest


def unpack_timings(data: bytes, strings: Sequence[str | None]) -> Iterator[tuple[int, RequestTiming]]:
    """The timings of a block with the numbers of their requests."""
    at = 0
    while at < len(data):
        head = _TIMING.unpack_from(data, at)
        number, sent_ns, end_ns, scheduled_ns, output, prompt, cached, status, flags, finish, error, size = head
        at += _TIMING.size
        chunks: Sequence[Any] = ()
        if size:
            chunks, at = _unpack_chunks(data, at, flags, size)
        yield (
            number,
            RequestTiming(
                sent_ns,
                end_ns,
                chunks,
                _known(output),
                _known(prompt),
                _known(cached),
                bool(flags & _STREAMED),
                _known(status),
                strings[finish],
                strings[error],
                _known(scheduled_ns),
                bool(flags & _SHARED),
            ),
        )


def _unpack_chunks(data: bytes, at: int, flags: int, size: int) -> tuple[PackedChunks, int]:
    (first_ns,) = struct.unpack_from("<q", data, at)
    at += 8
    gaps: array[int] = array("q" if flags & _WIDE else "I")
    stop = at + (size - 1) * gaps.itemsize
    gaps.frombytes(data[at:stop])
    kinds = data[stop : stop + size] if flags & _KINDS else b""
    at = stop + len(kinds)
    tokens: array[int] | None = array("I") if flags & _COUNTED else None
    if tokens is not None and not flags & _ONES:
        stop = at + size * tokens.itemsize
        tokens.frombytes(data[at:stop])
        at = stop
    return PackedChunks(first_ns, gaps, kinds, tokens), at


def _known(value: int) -> int | None:
    return None if value == _NONE else value
