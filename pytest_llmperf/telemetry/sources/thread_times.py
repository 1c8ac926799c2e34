"""How long the threads of a branch of processes ran and waited for a core, from ``/proc/PID/task/TID/schedstat``.

A thread takes its times with it when it ends, so that they are read several times a second and added up here. What a
thread did after it was last read is lost; a thread that lives between two readings is not seen.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PERIOD_S = 0.25
# A reading is repeated after this many times its own cost at the earliest: it takes half a percent of a core at most.
COST_BOUND = 200


class BranchTimes:
    """The times of all threads that one branch has had, in ns, from the first reading on."""

    def __init__(self, list_pids: Callable[[], tuple[int, ...]], proc: str = "/proc") -> None:
        self._list_pids = list_pids
        self._proc = proc
        self._live: dict[str, tuple[int, int]] = {}
        self._ended = (0, 0)
        self._told = False
        self.due = float("-inf")

    @property
    def total(self) -> tuple[int, int] | None:
        """What was run and waited, as of the last reading; None if the system has never told of any thread."""
        if not self._told:
            return None
        ran, waited = zip(self._ended, *self._live.values(), strict=True)
        return sum(ran), sum(waited)

    def read(self) -> None:
        """Reads all threads of the branch."""
        begun = time.thread_time()
        now: dict[str, tuple[int, int]] = {}
        for pid in self._list_pids():
            now.update(self._read_process(pid))
        for path, last in self._live.items():
            found = now.get(path)
            if found is None or found < last:  # it has ended, and another thread may have its number
                self._ended = (self._ended[0] + last[0], self._ended[1] + last[1])
        self._live = now
        self._told = self._told or any(ran or waited for ran, waited in now.values())
        self.due = time.monotonic() + max(PERIOD_S, COST_BOUND * (time.thread_time() - begun))

    def _read_process(self, pid: int) -> dict[str, tuple[int, int]]:
        folder = f"{self._proc}/{pid}/task"
        found = {}
        try:
            threads = os.listdir(folder)
        except OSError:  # it has ended, or is hidden
            return {}
        for thread in threads:
            path = f"{folder}/{thread}/schedstat"
            try:
                fd = os.open(path, os.O_RDONLY)
            except OSError:  # the same of the thread
                continue
            try:
                ran, waited, *_ = os.read(fd, 96).split()
                found[path] = (int(ran), int(waited))
            except (OSError, ValueError):  # it ended while it was read
                continue
            finally:
                os.close(fd)
        return found


class ThreadsLane(threading.Thread):
    """Reads the threads of several branches, each by its key."""

    def __init__(self) -> None:
        super().__init__(name="threads-lane", daemon=True)
        self._branches: dict[int, BranchTimes] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def add(self, key: int, list_pids: Callable[[], tuple[int, ...]]) -> None:
        """Reads a branch from now on."""
        with self._lock:
            self._branches[key] = BranchTimes(list_pids)
        self._wake.set()

    def remove(self, key: int) -> None:
        """Reads the branch no longer; does nothing if it was not added."""
        with self._lock:
            self._branches.pop(key, None)

    def read(self, key: int) -> tuple[int, int] | None:
        """What the threads of a branch have run and waited until now, in ns; None if that is not known."""
        with self._lock:
            branch = self._branches.get(key)
            if branch is None:
                return None
            branch.read()
            return branch.total

    def run(self) -> None:
        """Reads until the process ends."""
        while True:
            with self._lock:
                now = time.monotonic()
                for branch in self._branches.values():
                    if now >= branch.due:
                        branch.read()
                due = min((branch.due for branch in self._branches.values()), default=float("inf"))
            self._wake.wait(min(1.0, max(0.01, due - time.monotonic())))
            self._wake.clear()
