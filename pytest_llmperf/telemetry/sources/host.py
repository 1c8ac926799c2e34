"""Resident memory of process trees, read from ``/proc`` (by psutil where there is none). All sizes are bytes.

There are two ways to read a process. RSS costs microseconds and counts shared pages in full. PSS divides each shared
page by the number of its users, so that it may be summed over a tree, but costs a walk over the page tables (about
13 ms per GiB). A tree is therefore read as RSS minus its shared part, which changes rarely.

Processes outside the tree may map the same files, such as a model served by two servers; that makes them no smaller. So
a tree has at least as much memory of files as the largest of its processes, and a single process is plain RSS.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pytest_llmperf.telemetry.records.ring import DEVICE_MEMORY, RingRecord
from pytest_llmperf.telemetry.records.source import SourceError, Why

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROC = Path("/proc")
HAS_PROC = (_PROC / "self" / "statm").exists()
_PAGE = os.sysconf("SC_PAGE_SIZE")
_GONE = (FileNotFoundError, ProcessLookupError)


class ResidentReader(Protocol):
    """Reads the RSS of one process repeatedly."""

    def read(self) -> int | None:
        """RSS in bytes; None once the process has ended, even if it has not been reaped yet."""

    def close(self) -> None:
        """Frees what the reader holds open."""


class StatmReader:
    """RSS from ``/proc/<pid>/statm``. The open file belongs to the process, not to a later one with the same pid."""

    def __init__(self, pid: int) -> None:
        self._fd = os.open(_PROC / str(pid) / "statm", os.O_RDONLY)

    def read(self) -> int | None:
        try:
            fields = os.pread(self._fd, 128, 0).split(None, 2)
        except _GONE:
            return None
        return int(fields[1]) * _PAGE if fields and fields[0] != b"0" else None

    def close(self) -> None:
        os.close(self._fd)


class PsutilReader:
    """RSS by psutil, for systems without ``/proc``."""

    def __init__(self, pid: int) -> None:
        import psutil

        try:
            self._process = psutil.Process(pid)
        except psutil.Error:
            raise ProcessLookupError(pid) from None

    def read(self) -> int | None:
        import psutil

        try:
            return int(self._process.memory_info().rss)
        except psutil.Error:
            return None

    def close(self) -> None:
        """Nothing is held open."""


def open_reader(pid: int) -> ResidentReader | None:
    """A reader for the process; None if it does not exist or may not be read."""
    try:
        return StatmReader(pid) if HAS_PROC else PsutilReader(pid)
    except (*_GONE, PermissionError):
        return None


class Shares(NamedTuple):
    """What a process shares, in bytes: RSS less PSS; RSS and PSS of its files, None on kernels without them."""

    shared: int
    files: int | None
    part_of_files: int | None


def read_sharing(pids: Sequence[int]) -> dict[int, int | None]:
    """The shared part in bytes of each process of one tree, None if it cannot be read.

    They are read together, since a fork makes pages of the parent shared too. Ended processes are left out.
    """
    if len(pids) == 1:
        return {pids[0]: 0}
    found: dict[int, Shares | None] = {}
    for pid in pids:
        with suppress(ProcessLookupError):
            found[pid] = read_shares(pid)
    shared = {pid: one and one.shared for pid, one in found.items()}
    files = {pid: one.files for pid, one in found.items() if one and one.files is not None}
    if files:
        largest = max(files, key=files.__getitem__)
        of_strangers = files[largest] - sum(one.part_of_files or 0 for one in found.values() if one)
        shared[largest] = (shared[largest] or 0) - max(0, of_strangers)
    return shared


def read_shares(pid: int) -> Shares | None:
    """What a process shares, from ``smaps_rollup`` and ``status``; None if unreadable (other user, old kernel).

    Raises:
        ProcessLookupError: the process has ended.
    """
    try:
        rollup = _sizes((_PROC / str(pid) / "smaps_rollup").read_bytes())
        status = _sizes((_PROC / str(pid) / "status").read_bytes())
    except PermissionError:
        return None
    except FileNotFoundError:
        if HAS_PROC and not (_PROC / str(pid)).exists():
            raise ProcessLookupError(pid) from None
        return None
    if b"Pss" not in rollup or b"Rss" not in rollup:
        raise ProcessLookupError(pid)  # it ended while it was read
    files = status.get(b"RssFile") if b"Pss_File" in rollup else None
    return Shares(max(0, rollup[b"Rss"] - rollup[b"Pss"]), files, rollup.get(b"Pss_File"))


def _sizes(text: bytes) -> dict[bytes, int]:
    """The lines that state a size, ``Rss:  12 kB``, in bytes."""
    fields = (line.split() for line in text.splitlines())
    return {f[0].rstrip(b":"): int(f[1]) * 1024 for f in fields if len(f) == 3 and f[2] == b"kB"}


class HostMemory:
    """The host's memory in use, MemTotal less MemAvailable: the source for devices without memory of their own."""

    def __init__(self, slot: int, meminfo: Path = _PROC / "meminfo") -> None:
        self.driver_ns = 0
        self._slot = slot
        self._path = meminfo

    def read(self, t_ns: int) -> Sequence[RingRecord]:
        try:
            fields = dict(line.split(b":", 1) for line in self._path.read_bytes().splitlines()[:8])
            total, available = (int(fields[name].split()[0]) * 1024 for name in (b"MemTotal", b"MemAvailable"))
        except (OSError, KeyError, ValueError) as error:
            raise SourceError(f"the host's memory cannot be read from {self._path}: {error}", Why.ABSENT) from None
        return (RingRecord(t_ns, total - available, self._slot, 0, DEVICE_MEMORY),)

    def close(self) -> None:
        """Nothing is held open."""


def process_tree(root: int) -> tuple[int, ...]:
    """``root`` and all its descendants, root first. ``root`` is listed even when it has ended."""
    if not (_PROC / "self" / "task" / str(os.getpid()) / "children").exists():
        return (root, *_descendants_by_psutil(root))
    tree = [root]
    for pid in tree:
        tree += _children(pid)
    return tuple(tree)


def _children(pid: int) -> list[int]:
    """The children of all threads: the kernel lists a child under the thread that forked it."""
    try:
        threads = list((_PROC / str(pid) / "task").iterdir())
    except (*_GONE, PermissionError):
        return []
    found: list[int] = []
    for thread in threads:
        try:
            found += map(int, (thread / "children").read_bytes().split())
        except (*_GONE, PermissionError):
            continue
    return found


def _descendants_by_psutil(root: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(root).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
