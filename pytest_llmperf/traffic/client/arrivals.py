"""When bytes were sent and came by the kernel's clock, which other threads of this process cannot hold up."""

from __future__ import annotations

import socket
import struct
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.traffic.client.exchange import Exchange

_READ_SIZE = 65536
# Linux, with 64-bit times; Python has no names for them.
_TIMESTAMP = 35
_TIMESPEC = struct.Struct("@qq")
_ANCILLARY_SIZE = socket.CMSG_SPACE(_TIMESPEC.size)
_TCP_INFO_SIZE = 104
_ROUND_TRIP_US = struct.Struct("@68xI")
_IS_LINUX = sys.platform == "linux"
# Above this the clock was set meanwhile.
_MOST_NS = 600_000_000_000
# The last token, what ends an answer, its usage: more events at once are tokens that have waited.
_MOST_EVENTS = 3
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r", b"}\n\r\n", b"}\n{")
# A connection takes one round trip, and the first byte of a request another half.
_ROUND_TRIPS = 2


def ask_for_arrivals(connection: socket.socket) -> None:
    """Lets the kernel say when it received what is read, where it can."""
    if _IS_LINUX:
        connection.setsockopt(socket.SOL_SOCKET, _TIMESTAMP, 1)


def receive(connection: socket.socket) -> tuple[bytes, int, int | None]:
    """Reads what has come: the bytes, their stamp, and how long before it the last of them had come, in ns.

    None for the last where that is not known, and where so many events came at once that the first may have come long
    before the last.
    """
    if not _IS_LINUX or type(connection) is not socket.socket:  # one with TLS has no stamps
        return connection.recv(_READ_SIZE), time.monotonic_ns(), None
    data, ancillary, _, _ = connection.recvmsg(_READ_SIZE, _ANCILLARY_SIZE)
    at_ns, now_ns = time.monotonic_ns(), time.time_ns()
    if not data:
        return data, at_ns, 0
    return data, at_ns, None if _count_events(data) > _MOST_EVENTS else _find_wait(ancillary, now_ns)


def _count_events(data: bytes) -> int:
    """The number of events or lines of JSON that end in ``data``, whatever their line ends."""
    return max(map(data.count, _EVENT_ENDS))


def _find_wait(ancillary: Sequence[tuple[int, int, bytes]], now_ns: int) -> int | None:
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _TIMESTAMP) and len(content) >= _TIMESPEC.size:
            seconds, rest = _TIMESPEC.unpack_from(content)
            waited_ns: int = now_ns - seconds * 1_000_000_000 - rest
            return max(0, waited_ns) if waited_ns < _MOST_NS else None
    return None


def find_longest_wait(waited: Sequence[int | None]) -> int | None:
    """The largest of these; None if one is not known."""
    known = [ns for ns in waited if ns is not None]
    return max(known, default=None) if len(known) == len(waited) else None


def measure_sending(connection: socket.socket, exchange: Exchange, now_ns: int) -> int | None:
    """How much longer than the network needs a request was under way to the socket by ``now_ns``, in ns.

    None where that is not known: a name may be looked up first, and a secure connection has more round trips.
    """
    target = exchange.target
    if not _IS_LINUX or target.ssl_context is not None or not target.host.replace(".", "").isdigit():
        return None
    information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    if len(information) < _ROUND_TRIP_US.size:
        return None
    round_trip_us: int
    (round_trip_us,) = _ROUND_TRIP_US.unpack_from(information)
    return max(0, now_ns - exchange.sent_ns - _ROUND_TRIPS * round_trip_us * 1000)
