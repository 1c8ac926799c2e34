"""The processes of a trial: all that have its mark in their environment, by the role that their command shows."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.matrix.suite import MARK

if TYPE_CHECKING:
    from collections.abc import Iterable

_COMMANDS = {
    "worker": "sys.stdin.readline()",
    "warden": "lifecycle/warden.py",
    "sampler": "pytest_llmperf.telemetry.sampler.main",
    "load client": "pytest_llmperf.traffic.load.main",
    "relay": "pytest_llmperf.traffic.relay.main",
}
_SHARED_MEMORY = Path("/dev/shm")


def list_processes(trial: Path) -> list[psutil.Process]:
    """Those of a trial that run, the oldest first; one that has ended and waits for its parent does not count."""
    mark = f"{MARK}={trial}".encode()
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError, psutil.Error):  # another user's, or it has just ended
            if mark in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                found.append(psutil.Process(int(name)))
    return sorted(found, key=lambda process: process.create_time())


def find_victim(trial: Path, role: str, main: int) -> psutil.Process | None:
    """The first process of a role; ``main`` is the pid of pytest. None if there is none."""
    if role in ("pytest", "controller"):
        return psutil.Process(main)
    processes = list_processes(trial)
    if role != "engine":
        return next((one for one in processes if _COMMANDS[role] in describe(one)), None)
    wardens = [one.pid for one in processes if _COMMANDS["warden"] in describe(one)]
    # Before it becomes the engine, a fork of the warden has the warden's command.
    return next((one for one in processes if one.pid not in wardens and _parent(one) in wardens), None)


def describe(process: psutil.Process) -> str:
    """Its command line, or "" once it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.Error:
        return 0


def is_connected(process: psutil.Process) -> bool:
    """Whether it has a connection to a server."""
    try:
        return any(one.status == psutil.CONN_ESTABLISHED for one in process.net_connections("tcp"))
    except psutil.Error:
        return False


def find_shared_memory(processes: Iterable[psutil.Process]) -> set[int]:
    """The inodes of what these processes have mapped from /dev/shm."""
    found: set[int] = set()
    for process in processes:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8", errors="replace").splitlines()
            found |= {int(line.split()[4]) for line in lines if f" {_SHARED_MEMORY}/" in line}
    return found


def list_shared_memory(inodes: set[int]) -> list[str]:
    """The names in /dev/shm that have one of these inodes."""
    return [entry.name for entry in os.scandir(_SHARED_MEMORY) if entry.inode() in inodes] if inodes else []
