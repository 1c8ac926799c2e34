"""Matches the pids that a driver lists to engines, even if the driver uses another pid namespace."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.telemetry.records.ring import MAPPED, MATCHED
from pytest_llmperf.telemetry.sources.host import process_tree

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_PROC = Path("/proc")


@dataclass
class Matches:
    """Whose the listed pids are.

    Attributes:
        keys: the keys of the engines' branches.
        owners: by listed pid, the key of its branch and MATCHED or MAPPED.
        visible: listed pids of processes that are visible here.
        ours: listed pids of this run that are no engine's.
    """

    keys: tuple[int, ...]
    owners: dict[int, tuple[int, int]] = field(default_factory=dict)
    visible: set[int] = field(default_factory=set)
    ours: set[int] = field(default_factory=set)


def find_host_proc() -> Path | None:
    """Where the host's ``/proc`` is mounted in this container: ``$HOST_PROC`` or ``/host/proc``; None if it is not."""
    for path in (os.environ.get("HOST_PROC", ""), "/host/proc"):
        if path and Path(path) != _PROC and (Path(path) / "self").is_symlink():
            return Path(path)
    return None


class ProcessMatcher:
    """Matches listed pids as they are, or through ``NSpid`` where the driver counts as the host does.

    A driver uses one namespace throughout. With the host's ``/proc`` it shows to be the host's as soon as a process of
    this run is in the list; a listed number that is also a pid of ours is then another process.
    """

    def __init__(self, owner: int = 0, proc: Path = _PROC, host: Path | None = None) -> None:
        """``owner`` is the pid of the pytest that this run belongs to, 0 for none; ``host`` is the host's ``/proc``."""
        self._owner = owner
        self._proc = proc
        self._host = host

    def match(self, pids: Sequence[int], branches: Mapping[int, Collection[int]]) -> Matches:
        """Matches the listed pids to the branches of engines, each the pids of its processes by its key."""
        run = set(process_tree(self._owner)) if self._owner and pids else set()
        inner = {pid: pid for pid in pids}
        proc = self._proc
        if self._host is not None:
            mapped = {pid: own for pid in pids if (own := self._inner_pid(self._host, pid)) is not None}
            if not run.union(*branches.values()).isdisjoint(mapped.values()):
                inner, proc = mapped, self._host
        found = Matches(tuple(branches), visible={pid for pid in pids if (proc / str(pid)).exists()})
        for pid, own in inner.items():
            key = next((key for key, members in branches.items() if own in members), None)
            if key is not None:
                found.owners[pid] = (key, MATCHED if own == pid else MAPPED)
            elif own in run:
                found.ours.add(pid)
        return found

    def _inner_pid(self, host: Path, pid: int) -> int | None:
        """The pid of a process of the host in this namespace; None if it is not in it."""
        with contextlib.suppress(OSError):
            folder = host / str(pid)
            if os.readlink(folder / "ns" / "pid") != os.readlink(self._proc / "self" / "ns" / "pid"):
                return None
            for line in (folder / "status").read_text(encoding="utf-8").splitlines():
                if line.startswith("NSpid:"):
                    return int(line.split()[-1])
        return None
