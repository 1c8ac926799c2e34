"""The processes of this host that listen at an address."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PORTS = {"http": 80, "https": 443}


def parse_address(url: str) -> tuple[str, int] | None:
    """Host and port of a server's URL; None if it is no such URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    return (parts.hostname, port) if parts.hostname and parts.scheme in _PORTS else None


def find_listening_pids(base_url: str) -> tuple[int, ...]:
    """The root process of the server there; empty unless it runs on this host and its sockets may be read."""
    address = parse_address(base_url)
    if address is None or address[0] not in _LOOPBACK:
        return ()
    try:
        listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        pids = {c.pid for c in listening if c.laddr and c.laddr.port == address[1] and c.pid}
        roots = {_first_listener(psutil.Process(pid), address[1]) for pid in pids}
        return tuple(sorted(root.pid for root in roots))
    except psutil.Error:
        return ()


def describe_processes(pids: Sequence[int]) -> str:
    """``process 12 (nginx)``; a process that cannot be read has no name."""
    return " and ".join(f"process {pid}{_name_in_brackets(pid)}" for pid in pids)


def _name_in_brackets(pid: int) -> str:
    try:
        return f" ({psutil.Process(pid).name()})"
    except psutil.Error:
        return ""


def _first_listener(process: psutil.Process, port: int) -> psutil.Process:
    """The farthest ancestor with the same socket, which workers share with the process that forked them."""
    root = process
    for parent in process.parents():
        # Called ``connections`` before psutil 6.
        list_connections = parent.net_connections if hasattr(parent, "net_connections") else parent.connections
        try:
            if any(
                c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port for c in list_connections("tcp")
            ):
                root = parent
        except psutil.AccessDenied:
            break
    return root
