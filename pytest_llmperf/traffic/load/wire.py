"""The protocol between pytest and the load client: frames, with plan and requests one way and timings the other."""

from __future__ import annotations

import json
import struct
from array import array
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.chunks import PackedChunks
from pytest_llmperf.measurement.request import RequestTiming, ServerTimes
from pytest_llmperf.traffic.answers import openai
from pytest_llmperf.traffic.client.api import FunctionName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OPENAI_READER = FunctionName.of(openai.read)

PLAN, REQUEST, END = b"P", b"R", b"E"
PROGRESS, TIMINGS, SUMMARY = b"p", b"t", b"s"

_FRAME = struct.Struct("<cI")
_ORDER = struct.Struct("<Iq??I")
_TIMING = struct.Struct("<IqqqqqqqqqqqhBIIIII")
_STREAMED, _SHARED, _COUNTED, _ONES, _KINDS, _WIDE, _DRAFTED = 1, 2, 4, 8, 16, 32, 64
_NONE = -1


def frame(kind: bytes, payload: bytes) -> bytes:
    """Encodes one frame: its kind (1 byte), the length of the payload, and the payload."""
    return _FRAME.pack(kind, len(payload)) + payload


@dataclass(frozen=True)
class Plan:
    """What the load client must know before the first request.

    Attributes:
        url: base URL of the server, with the query of each request.
        api_key: "" if the server asks for none.
        timeout: bounds, in seconds, the connecting and every single silence of the server.
        keep: whether a connection carries several requests.
        path: path of every request below the base URL.
        streamed: whether the answers are streams.
        kept_bytes: size of the answers that are kept until the load has ended; more are read earlier.
        connections: connections to open before the start.
        reserve: idle connections to keep open during the load.
        user_starts_ns: when each user of a closed loop sends the first request, from the start; None for an open loop.
        duration_ns: time after which no request is sent any more; None for no limit.
        max_error_rate: share of failed requests above which the load stops; None for no limit.
        headers: of each request, beside the client's own.
        reader: the function that reads answers.
        length: where in a body the most tokens of an answer stand, as names of fields from the outermost on.
    """

    url: str
    api_key: str = field(repr=False)
    timeout: float
    keep: bool
    path: str
    streamed: bool
    kept_bytes: int
    connections: int
    reserve: int
    user_starts_ns: Sequence[int] | None
    duration_ns: int | None
    max_error_rate: float | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    reader: FunctionName = OPENAI_READER
    length: Sequence[str] = ("max_tokens",)

    def pack(self) -> bytes:
        """Encodes the plan as JSON."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def unpack(data: bytes) -> Plan:
        """Decodes what :meth:`pack` has encoded."""
        fields = json.loads(data)
        return Plan(**{**fields, "reader": FunctionName(**fields["reader"])})


class Frames:
    """Joins frames from bytes that arrive in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def take(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Adds ``data`` and yields the kind and the payload of each frame that is complete now."""
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
    """A script to send.

    Attributes:
        number: number of its first request; the further turns are numbered from there.
        body: JSON body of its first request.
        due_ns: moment to send it, from the start of the load; None for as soon as a user is free.
        shared: whether its prompts may come from the prefix cache.
        full_length: whether the server is told to end no answer before all its tokens have come.
        further: content, ``max_tokens`` and the pause before it in ns of each further turn.
    """

    number: int
    body: bytes
    due_ns: int | None = None
    shared: bool = False
    full_length: bool = False
    further: list[tuple[Any, int, int]] = field(default_factory=list)

    def pack(self) -> bytes:
        """Encodes the order."""
        due_ns = _NONE if self.due_ns is None else self.due_ns
        rest = json.dumps(self.further).encode() if self.further else b""
        return _ORDER.pack(self.number, due_ns, self.shared, self.full_length, len(self.body)) + self.body + rest

    @staticmethod
    def unpack(data: bytes) -> Order:
        """Decodes what :meth:`pack` has encoded."""
        number, due_ns, shared, full_length, size = _ORDER.unpack_from(data)
        body, rest = data[_ORDER.size : _ORDER.size + size], data[_ORDER.size + size :]
        further = [(content, tokens, think_ns) for content, tokens, think_ns in json.loads(rest)] if rest else []
        return Order(number, body, None if due_ns == _NONE else due_ns, shared, full_length, further)


class Strings:
    """Numbers the texts that many timings share, so that each is transferred once; 0 stands for None."""

    def __init__(self) -> None:
        self._numbers: dict[str | None, int] = {None: 0}

    def number(self, text: str | None) -> int:
        """Returns the number of a text, a new one for a new text."""
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def known(self) -> list[str | None]:
        """The texts, each at the index that is its number."""
        return list(self._numbers)


def pack_timing(number: int, timing: RequestTiming, strings: Strings) -> bytes:
    """Encodes the timing of request ``number``; its texts are added to ``strings``."""
    packed = PackedChunks.pack(timing.chunks)
    flags = _STREAMED * timing.streamed | _SHARED * timing.shared_prefix
    rest = b""
    if isinstance(packed, PackedChunks):
        counted = packed.tokens is not None
        flags |= _COUNTED * counted | _ONES * (counted and not packed.tokens) | _KINDS * bool(packed.kinds)
        flags |= _WIDE * (packed.gaps.typecode == "q")
        rest = struct.pack("<q", packed.first_ns) + packed.gaps.tobytes() + packed.kinds
        rest += packed.tokens.tobytes() if packed.tokens is not None else b""
    times = timing.server or ServerTimes()
    flags |= _DRAFTED * times.drafted
    counts = (timing.output_tokens, timing.prompt_tokens, timing.cached_tokens, times.prompt, times.decode)
    drafts = (timing.drafted_tokens, timing.accepted_tokens)
    head = _TIMING.pack(
        number,
        timing.sent_ns,
        timing.end_ns,
        _NONE if timing.scheduled_ns is None else timing.scheduled_ns,
        *(_NONE if count is None else count for count in (*counts, *drafts)),
        timing.hidden_tokens,
        _NONE if timing.status is None else timing.status,
        flags,
        strings.number(timing.finish_reason),
        strings.number(timing.error),
        strings.number(timing.count_fault or None),
        strings.number(timing.model or None),
        len(timing.chunks),
    )
    return head + rest


def unpack_timings(data: bytes, strings: Sequence[str | None]) -> Iterator[tuple[int, RequestTiming]]:
    """Yields the request number and the timing of each that :func:`pack_timing` has encoded into ``data``."""
    at = 0
    while at < len(data):
        head = _TIMING.unpack_from(data, at)
        number, sent_ns, end_ns, scheduled_ns, output, prompt, cached, read_ns, decode_ns, *others = head
        drafted, accepted, hidden, status, flags, *texts, size = others
        finish, error, count_fault, model = (strings[text] for text in texts)
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
                _read_optional(output),
                _read_optional(prompt),
                _read_optional(cached),
                bool(flags & _STREAMED),
                _read_optional(status),
                finish,
                error,
                _read_optional(scheduled_ns),
                bool(flags & _SHARED),
                hidden_tokens=hidden,
                count_fault=count_fault or "",
                model=model or "",
                server=_read_times(read_ns, decode_ns, drafted=bool(flags & _DRAFTED)),
                drafted_tokens=_read_optional(drafted),
                accepted_tokens=_read_optional(accepted),
            ),
        )


def _read_times(read_ns: int, decode_ns: int, *, drafted: bool) -> ServerTimes | None:
    """The server's times of a prompt and its answer, None for none."""
    if read_ns == _NONE and decode_ns == _NONE:
        return None
    return ServerTimes(prompt=_read_optional(read_ns), decode=_read_optional(decode_ns), drafted=drafted)


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


def _read_optional(value: int) -> int | None:
    return None if value == _NONE else value
