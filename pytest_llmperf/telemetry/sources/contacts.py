"""Whom the processes of a branch are connected to as clients: what forwards requests needs someone to answer them."""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_llmperf.telemetry.sources.host import HAS_PROC

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

Address = tuple[str, int]

LOOK_PERIOD_S = 0.1
# A look is repeated after this many times its own cost at the earliest.
_COST_BOUND = 30
_PROC = Path("/proc")
_ESTABLISHED, _SYN_SENT, _CLOSE_WAIT, _LISTEN = "01", "02", "08", "0A"
_OPEN = (_ESTABLISHED, _SYN_SENT, _CLOSE_WAIT)


class _Socket(NamedTuple):
    """A TCP socket: its state as ``/proc/net/tcp`` writes it, and its two ends."""

    state: str
    local: Address
    remote: Address


def list_contacts(pids: Sequence[int]) -> set[Address]:
    """The addresses that these processes are connected to now, other than those of each other.

    Connections that came in at a port where one of them listens are no contacts. Processes that may not be read have
    none.
    """
    sockets = set(_list_sockets(pids))
    ports = {one.local[1] for one in sockets if one.state == _LISTEN}
    ends = {one.local for one in sockets}
    outgoing = (one for one in sockets if one.state in _OPEN and one.local[1] not in ports)
    return {one.remote for one in outgoing if one.remote not in ends}


class Contacts:
    """Looks for contacts, as often as the costs allow, until there are some. Times are in s.

    Attributes:
        seen: the contacts, ``host:port`` each.
        due: the time of ``time.monotonic()`` at which the next look is due.
    """

    def __init__(self, list_pids: Callable[[], Sequence[int]]) -> None:
        self._list_pids = list_pids
        self.seen: set[str] = set()
        self.due = float("-inf")

    def step(self) -> None:
        """Looks if that is due."""
        if time.monotonic() < self.due:
            return
        begun = time.thread_time()
        self.seen |= {f"{host}:{port}" for host, port in list_contacts(self._list_pids())}
        cost = time.thread_time() - begun
        self.due = float("inf") if self.seen else time.monotonic() + max(LOOK_PERIOD_S, _COST_BOUND * cost)


def _list_sockets(pids: Iterable[int]) -> Iterator[_Socket]:
    if not HAS_PROC:
        for pid in pids:
            yield from _ask_psutil(pid)
        return
    # A process in a container of its own has other connections than those of this network.
    networks: dict[str, tuple[int, set[bytes]]] = {}
    for pid in pids:
        with suppress(OSError):
            inodes = _read_inodes(_PROC / str(pid))
            if inodes:
                network = os.readlink(_PROC / str(pid) / "ns" / "net")
                networks.setdefault(network, (pid, set()))[1].update(inodes)
    for pid, inodes in networks.values():
        yield from _read_table(_PROC / str(pid) / "net", inodes)


def _read_inodes(folder: Path) -> set[bytes]:
    """The numbers of the sockets that a process has open."""
    found = set()
    for link in os.scandir(folder / "fd"):
        with suppress(OSError):
            target = os.readlink(link.path)
            if target.startswith("socket:["):
                found.add(target[8:-1].encode())
    return found


def _read_table(folder: Path, inodes: Collection[bytes]) -> Iterator[_Socket]:
    """The TCP sockets of a network that have these numbers, of perhaps thousands."""
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (folder / name).read_bytes().splitlines()[1:]:
                fields = line.split(None, 10)
                if fields[9] in inodes:
                    local, remote, state = (field.decode("ascii") for field in fields[1:4])
                    yield _Socket(state, _read_address(local), _read_address(remote))


def _read_address(text: str) -> Address:
    """``0100007F:1F90`` → ("127.0.0.1", 8080); an IPv4 address in IPv6 is told as the former."""
    digits, _, port = text.partition(":")
    words = [int(digits[i : i + 8], 16) for i in range(0, len(digits), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    if len(packed) == 16 and packed.startswith(b"\0" * 10 + b"\xff\xff"):
        packed = packed[12:]
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed), int(port, 16)


def _ask_psutil(pid: int) -> Iterator[_Socket]:
    import psutil

    states = {
        psutil.CONN_ESTABLISHED: _ESTABLISHED,
        psutil.CONN_SYN_SENT: _SYN_SENT,
        psutil.CONN_CLOSE_WAIT: _CLOSE_WAIT,
        psutil.CONN_LISTEN: _LISTEN,
    }
    try:
        process = psutil.Process(pid)
        # Called ``connections`` before psutil 6.
        found = (process.net_connections if hasattr(process, "net_connections") else process.connections)("tcp")
    except psutil.Error:
        return
    for one in found:
        if one.status in states and one.laddr:
            remote = (one.raddr.ip, one.raddr.port) if one.raddr else ("", 0)
            yield _Socket(states[one.status], (one.laddr.ip, one.laddr.port), remote)
