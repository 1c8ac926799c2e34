"""The memory of branches of processes as a source: RSS at the full rate, its shared part about once a second.

:class:`BranchMemory` reads RSS at the pace of its lane. :class:`SharingLane` is a thread of its own because its reads
may take long: it lists the processes of the branches and reads how much of their memory is shared.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pytest_llmperf.telemetry.records.ring import GONE, HOST, RSS_ONLY, RingRecord, make_record
from pytest_llmperf.telemetry.sources.contacts import Contacts
from pytest_llmperf.telemetry.sources.host import ResidentReader, open_reader, read_sharing

if TYPE_CHECKING:
    from pytest_llmperf.telemetry.sources.branch import Branch

LISTING_PERIOD_S = 0.25
SHARING_PERIOD_S = 1.0
# A reading is repeated after this many times its own cost at the earliest.
SLOW_COST_BOUND = 100
CHANGED_COST_BOUND = 10

Sharing = Mapping[int, int | None]


class Survey:
    """Lists the processes of one branch with ``list_pids`` and reads what each shares, as often as the costs allow.

    Times are in s.
    """

    def __init__(self, list_pids: Callable[[], tuple[int, ...]], clock: Callable[[], float] = time.monotonic) -> None:
        self.list_pids = list_pids
        self._clock = clock
        self._pids: tuple[int, ...] = ()
        self._changed = True
        self._list_due = self._share_due = self._share_due_if_changed = float("-inf")

    def hurry(self) -> None:
        """Makes the next step list the processes, however recently that was done."""
        self._list_due = self._share_due_if_changed = float("-inf")

    @property
    def due(self) -> float:
        """The time of the clock at which the next step has something to do."""
        return min(self._list_due, self._share_due_if_changed if self._changed else self._share_due)

    def distrust(self) -> None:
        """Notes that the sharing has changed: a process ended, or freed shared pages."""
        self._changed = True

    def step(self) -> Sharing | None:
        """Does what is due; returns the sharing per process if it was read anew, else None."""
        if self._clock() >= self._list_due:
            self._list()
        if self._clock() >= (self._share_due_if_changed if self._changed else self._share_due):
            return self._share()
        return None

    def _list(self) -> None:
        begun = time.thread_time()
        pids = self.list_pids()
        cost = time.thread_time() - begun
        self._list_due = self._clock() + max(LISTING_PERIOD_S, SLOW_COST_BOUND * cost)
        if set(pids) != set(self._pids):
            self._pids, self._changed = pids, True

    def _share(self) -> Sharing:
        begun = time.thread_time()
        self._changed = False
        shared = read_sharing(self._pids)
        cost = time.thread_time() - begun
        self._share_due = self._clock() + max(SHARING_PERIOD_S, SLOW_COST_BOUND * cost)
        self._share_due_if_changed = self._clock() + CHANGED_COST_BOUND * cost
        return shared


class SharingLane(threading.Thread):
    """Surveys the branches in turn and passes each what its processes share."""

    def __init__(self) -> None:
        super().__init__(name="sharing-lane", daemon=True)
        self._surveys: dict[int, tuple[BranchMemory, Survey]] = {}
        self._contacts: dict[int, Contacts] = {}
        self._asked: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def add(self, key: int, branch: Branch, memory: BranchMemory) -> None:
        """Surveys a branch from now on."""
        with self._lock:
            self._surveys[key] = (memory, Survey(branch.list_pids))
        self._wake.set()

    def remove(self, key: int) -> None:
        """Surveys the branch no longer; does nothing if it was not added."""
        with self._lock:
            self._surveys.pop(key, None)
            self._contacts.pop(key, None)

    def list_contacts(self, key: int) -> tuple[str, ...]:
        """Whom the branch was connected to as a client since this was asked for the first time: ``host:port`` each."""
        with self._lock:
            if key in self._surveys and key not in self._contacts:
                self._contacts[key] = Contacts(self._surveys[key][1].list_pids)
            found = self._contacts.get(key)
        return tuple(sorted(found.seen)) if found is not None else ()

    def distrust(self, key: int) -> None:
        """Reads the sharing of a branch anew soon."""
        with self._lock:
            if key in self._surveys:
                self._surveys[key][1].distrust()
        self._wake.set()

    def survey(self, done: Callable[[], None]) -> None:
        """Lists all branches now; calls ``done`` when each knows which processes came and went."""
        with self._lock:
            self._asked.append(done)
        self._wake.set()

    def run(self) -> None:
        """Surveys until the process ends."""
        while True:
            with self._lock:
                surveys, contacts = list(self._surveys.values()), list(self._contacts.values())
                asked, self._asked = self._asked, []
            for memory, survey in surveys:
                if asked:
                    survey.hurry()
                sharing = survey.step()
                if sharing is not None:
                    memory.learn(sharing)
            for one in contacts:
                one.due = float("-inf") if asked and not one.seen else one.due
                one.step()
            for done in asked:
                done()
            due = min([*(survey.due for _, survey in surveys), *(one.due for one in contacts)], default=float("inf"))
            self._wake.wait(min(1.0, max(0.0, due - time.monotonic())))
            self._wake.clear()


class BranchMemory:
    """The memory of one branch, a :class:`Source`; it has no level until its sharing is known.

    ``reader`` is that of the root, which need not be a process of the branch. It calls ``distrust`` when its sharing
    must be read anew. When the root has ended it gives a record with GONE, and no more after it.
    """

    def __init__(self, key: int, branch: Branch, reader: ResidentReader, distrust: Callable[[], None]) -> None:
        self._key = key
        self._branch = branch
        self._reader = reader
        self._members: dict[int, tuple[ResidentReader, int | None]] = {}
        if branch.has_root:
            self._members[branch.root] = (reader, None)
        self._distrust = distrust
        self._learned: deque[Sharing] = deque()
        self._known = False

    def learn(self, sharing: Sharing) -> None:
        """Uses what each process shares from the next reading on; may be called from another thread."""
        self._learned.append(sharing)

    def read(self, t_ns: int) -> tuple[RingRecord, ...]:
        """One record with the memory of the branch; none while its sharing is unknown."""
        while self._learned:
            self._update(self._learned.popleft())
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
        if self._branch.root in ended or (not self._branch.has_root and self._reader.read() is None):
            return (RingRecord(t_ns, 0, self._key, 0, HOST, GONE),)
        for pid in ended:
            self._members.pop(pid)[0].close()
        if distrust or ended:
            self._distrust()
        return (make_record((t_ns, total, self._key, len(self._members), HOST, flags)),) if self._known else ()

    def _update(self, sharing: Sharing) -> None:
        before, root = self._members, self._branch.root
        self._members = {root: (self._reader, sharing.get(root))} if self._branch.has_root else {}
        for pid, shared in sharing.items():
            if pid in self._members:
                continue
            reader = before[pid][0] if pid in before else open_reader(pid)
            if reader is not None:
                self._members[pid] = (reader, shared)
        for pid in before.keys() - self._members.keys():
            before[pid][0].close()
        self._known = True

    def close(self) -> None:
        """Closes the readers of all processes."""
        for reader in {self._reader, *(reader for reader, _ in self._members.values())}:
            reader.close()
