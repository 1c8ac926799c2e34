"""When bytes were sent and came by the kernel's clock, which other threads of this process cannot hold up."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
# A connection takes one round trip, and the first byte of a request another half.
_ROUND_TRIPS = 2


def ask_for_arrivals(connection: socket.socket) -> None:
    """Lets the kernel say when it received what is read, where it can."""
    if _IS_LINUX:
        connection.setsockopt(socket.SOL_SOCKET, _TIMESTAMP, 1)


def receive(connection: socket.socket) -> tuple[bytes, int, int]:
    """Reads what has come: the bytes, their stamp, and how long before it the last of them had come, in ns.

    0 where the kernel does not say when.
    """
    if not _IS_LINUX or isinstance(connection, ssl.SSLSocket):
        return connection.recv(_READ_SIZE), time.monotonic_ns(), 0
    data, ancillary, _, _ = connection.recvmsg(_READ_SIZE, _ANCILLARY_SIZE)
    at_ns, now_ns = time.monotonic_ns(), time.time_ns()
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _TIMESTAMP) and len(content) >= _TIMESPEC.size:
            seconds, rest = _TIMESPEC.unpack_from(content)
            late_ns = now_ns - seconds * 1_000_000_000 - rest
            return data, at_ns, late_ns if 0 < late_ns < _MOST_NS else 0
    return data, at_ns, 0


def measure_sending(connection: socket.socket, exchange: Exchange, now_ns: int) -> int:
    """How much longer than the network needs a request was under way to the socket by ``now_ns``, in ns.

    0 where that is not known: a name may be looked up first, and a secure connection has more round trips.
    """
    target = exchange.target
    if not _IS_LINUX or target.ssl_context is not None or not target.host.replace(".", "").isdigit():
        return 0
    information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    if len(information) < _ROUND_TRIP_US.size:
        return 0
    round_trip_us: int
    (round_trip_us,) = _ROUND_TRIP_US.unpack_from(information)
    return max(0, now_ns - exchange.sent_ns - _ROUND_TRIPS * round_trip_us * 1000)
