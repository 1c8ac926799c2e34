"""The sampler process: ``python -m pytest_llmperf.telemetry.sampler_child RING_FD HZ``.

Two lanes. The fast one (the main thread) writes the level of each watched process tree into the ring at the asked rate.
The slow one (a thread, because its reads may take long) says which processes form the trees and how much of their
memory is shared. Commands come line by line on stdin, ``watch PID`` and ``unwatch PID``; its end ends the process.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from pytest_llmperf.telemetry.host import (
    ResidentReader,
    open_reader,
    process_tree,
    shared_bytes,
)
from pytest_llmperf.telemetry.ring import GONE, HOST, RSS_ONLY, Record, Ring

IDLE_PERIOD_NS = 50_000_000
LISTING_PERIOD_S = 0.25
SHARING_PERIOD_S = 1.0
# A reading is repeated after this many times its own cost at the earliest.
FAST_COST_BOUND = 50
SLOW_COST_BOUND = 100
CHANGED_COST_BOUND = 10

Sharing = Mapping[int, int | None]


class Pace:
    """The distance of ticks: as asked, or longer where ticks would take more than 2 % of the time.

    ``cost_ns`` is the CPU time of a tick, averaged over the last few hundred.
    """

    def __init__(self, asked_ns: int) -> None:
        self.period_ns = asked_ns
        self.cost_ns = 0
        self._asked_ns = asked_ns
        self._spent_ns = 0
        self._ticks = 0

    def note(self, cost_ns: int) -> bool:
        """Take one tick's cost in; after every 64th the pace is set anew, and the answer is True."""
        self._spent_ns += cost_ns
        self._ticks += 1
        if self._ticks < 64:
            return False
        self.cost_ns += (self._spent_ns // 64 - self.cost_ns) // 4
        self.period_ns = max(self._asked_ns, FAST_COST_BOUND * self.cost_ns)
        self._spent_ns = self._ticks = 0
        return True


def next_deadline(last_ns: int, period_ns: int, now_ns: int) -> int:
    """One period after the last deadline; deadlines that have passed already are skipped, not caught up with."""
    missed = max(0, (now_ns - last_ns) // period_ns)
    return last_ns + (missed + 1) * period_ns


class Survey:
    """The slow lane's knowledge of one tree: its processes, and what each shares with others."""

    def __init__(self, root: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._pids: tuple[int, ...] = ()
        self._changed = True
        self._list_due = self._share_due = self._share_due_if_changed = float("-inf")

    @property
    def due(self) -> float:
        return min(self._list_due, self._share_due_if_changed if self._changed else self._share_due)

    def distrust(self) -> None:
        """The sharing has changed: a process ended, or gave its shared pages back."""
        self._changed = True

    def step(self) -> Sharing | None:
        """Do what is due; the sharing per process if it was read anew."""
        if self._clock() >= self._list_due:
            self._list()
        if self._clock() >= (self._share_due_if_changed if self._changed else self._share_due):
            return self._share()
        return None

    def _list(self) -> None:
        begun = time.thread_time()
        pids = process_tree(self._root)
        cost = time.thread_time() - begun
        self._list_due = self._clock() + max(LISTING_PERIOD_S, SLOW_COST_BOUND * cost)
        if set(pids) != set(self._pids):
            self._pids, self._changed = pids, True

    def _share(self) -> Sharing:
        # All processes are read together: a fork moves pages from "mine" to "ours" in the parent as well.
        begun = time.thread_time()
        self._changed = False
        sharing: dict[int, int | None] = {}
        for pid in self._pids:
            try:
                sharing[pid] = shared_bytes(pid)
            except ProcessLookupError:
                continue
        cost = time.thread_time() - begun
        self._share_due = self._clock() + max(SHARING_PERIOD_S, SLOW_COST_BOUND * cost)
        self._share_due_if_changed = self._clock() + CHANGED_COST_BOUND * cost
        return sharing


class SlowLane(threading.Thread):
    """Surveys the trees in turn and leaves what it learns in ``results``, as (root, sharing)."""

    def __init__(self) -> None:
        super().__init__(name="slow-lane", daemon=True)
        self.results: deque[tuple[int, Sharing]] = deque()
        self._surveys: dict[int, Survey] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def add(self, root: int) -> None:
        with self._lock:
            self._surveys[root] = Survey(root)
        self._wake.set()

    def discard(self, root: int) -> None:
        with self._lock:
            self._surveys.pop(root, None)

    def distrust(self, root: int) -> None:
        with self._lock:
            if root in self._surveys:
                self._surveys[root].distrust()
        self._wake.set()

    def run(self) -> None:
        while True:
            with self._lock:
                surveys = list(self._surveys.items())
            for root, survey in surveys:
                sharing = survey.step()
                if sharing is not None:
                    self.results.append((root, sharing))
            due = min((survey.due for _, survey in surveys), default=float("inf"))
            self._wake.wait(min(1.0, max(0.0, due - time.monotonic())))
            self._wake.clear()


class Tree:
    """The fast lane's view of one tree; it has no level until its sharing is known."""

    def __init__(self, root: int, reader: ResidentReader) -> None:
        self._root = root
        self._members: dict[int, tuple[ResidentReader, int | None]] = {root: (reader, None)}
        self._known = False

    def update(self, sharing: Sharing) -> None:
        before = self._members
        self._members = {self._root: (before[self._root][0], sharing.get(self._root))}
        for pid, shared in sharing.items():
            reader = before[pid][0] if pid in before else open_reader(pid)
            if reader is not None:
                self._members[pid] = (reader, shared)
        for pid in before.keys() - self._members.keys():
            before[pid][0].close()
        self._known = True

    def sample(self, t_ns: int) -> tuple[Record | None, bool]:
        """The record of this tick, if there is one, and whether the sharing is to be read anew."""
        total, flags, distrust = 0, 0, False
        ended = []
        for pid, (reader, shared) in self._members.items():
            resident = reader.read()
            if resident is None:
                ended.append(pid)
            elif shared is None:
                total += resident
                flags = RSS_ONLY
            elif resident >= shared:
                total += resident - shared
            else:
                distrust = True
        if self._root in ended:
            return Record(t_ns, 0, self._root, 0, HOST, GONE), False
        for pid in ended:
            self._members.pop(pid)[0].close()
        record = Record(t_ns, total, self._root, len(self._members), HOST, flags) if self._known else None
        return record, distrust or bool(ended)

    def close(self) -> None:
        for reader, _ in self._members.values():
            reader.close()


class FastLane:
    """The loop: wait for the next deadline or a command, read all trees, publish."""

    def __init__(self, ring: Ring, pace: Pace) -> None:
        self._ring = ring
        self._pace = pace
        self._slow = SlowLane()
        self._trees: dict[int, Tree] = {}
        self._gone: list[Record] = []
        self._parent = os.getppid()

    def run(self, commands: int) -> None:
        """Until ``commands`` (a file descriptor) ends or the parent does."""
        self._slow.start()
        self._ring.set_pace(self._pace.period_ns, self._pace.cost_ns)
        deadline, rest = time.monotonic_ns(), b""
        while os.getppid() == self._parent:
            wait_ns = max(0, deadline - time.monotonic_ns())
            if select.select([commands], [], [], wait_ns / 1e9)[0]:
                read = os.read(commands, 4096)
                if not read:
                    return
                *lines, rest = (rest + read).split(b"\n")
                for line in lines:
                    self._obey(line)
            now = time.monotonic_ns()
            if now >= deadline:
                self._tick(now)
                deadline = next_deadline(deadline, self._period_ns(), time.monotonic_ns())

    def _period_ns(self) -> int:
        return self._pace.period_ns if self._trees else max(IDLE_PERIOD_NS, self._pace.period_ns)

    def _obey(self, line: bytes) -> None:
        word, number = line.split()
        pid = int(number)
        if word == b"watch" and pid not in self._trees:
            reader = open_reader(pid)
            if reader is None:
                self._gone.append(Record(time.monotonic_ns(), 0, pid, 0, HOST, GONE))
            else:
                self._trees[pid] = Tree(pid, reader)
                self._slow.add(pid)
        elif word == b"unwatch":
            self._drop(pid)

    def _drop(self, pid: int) -> None:
        tree = self._trees.pop(pid, None)
        if tree is not None:
            tree.close()
            self._slow.discard(pid)

    def _tick(self, t_ns: int) -> None:
        begun = time.thread_time_ns()
        while self._slow.results:
            root, sharing = self._slow.results.popleft()
            if root in self._trees:
                self._trees[root].update(sharing)
        records, self._gone = self._gone, []
        for root, tree in tuple(self._trees.items()):
            record, distrust = tree.sample(t_ns)
            if record is not None:
                records.append(record)
                if record.flags & GONE:
                    self._drop(root)
            if distrust:
                self._slow.distrust(root)
        self._ring.publish(t_ns, records)
        if self._trees and self._pace.note(time.thread_time_ns() - begun):
            self._ring.set_pace(self._pace.period_ns, self._pace.cost_ns)


def main(arguments: list[str]) -> None:
    ring_fd, hz = int(arguments[0]), float(arguments[1])
    ring = Ring(ring_fd)
    FastLane(ring, Pace(round(1e9 / hz))).run(sys.stdin.fileno())
    ring.close()


if __name__ == "__main__":
    main(sys.argv[1:])
