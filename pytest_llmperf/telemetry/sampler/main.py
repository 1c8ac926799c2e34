"""The sampler process: ``python -m pytest_llmperf.telemetry.sampler.main HZ SOCKET_FD ADDRESS RING_FD...``.

The main thread takes orders; each lane is a thread that reads one kind of source into a ring of its own: memory at the
full rate, the driver's slow readings, DCGM exporters with the pages of engines. The times of the engines' threads are
added up here and told when asked for. An order is a line of JSON, ``{"id": 1,
"do": "watch", ...}``; its answer is ``{"id": 1, ...}``. Orders come over the socket from the process that started this
one, its owner, and from other processes of the host, which connect to the abstract address and are given the rings.
When a connection ends, what it alone watched is no longer read. The process ends when its owner's connection or the
owner itself ends.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import socket
import struct
import sys
import threading
import traceback
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_llmperf.system.child_process import end_with_parent, is_orphan, parent_pid
from pytest_llmperf.telemetry.records.ring import Ring, key_of
from pytest_llmperf.telemetry.records.source import DeviceFacts, SourceError, Why
from pytest_llmperf.telemetry.sampler.driver_lane import DriverLane
from pytest_llmperf.telemetry.sampler.exporters_lane import ExportersLane
from pytest_llmperf.telemetry.sampler.memory_lane import EAGERNESS, MemoryLane, Pace
from pytest_llmperf.telemetry.sampler.pages_lane import PagesLane
from pytest_llmperf.telemetry.sources.branch import Branch
from pytest_llmperf.telemetry.sources.drivers import open_backend
from pytest_llmperf.telemetry.sources.host import open_reader
from pytest_llmperf.telemetry.sources.pid_namespaces import ProcessMatcher, find_host_proc
from pytest_llmperf.telemetry.sources.process_tree import BranchMemory, SharingLane
from pytest_llmperf.telemetry.sources.thread_times import ThreadsLane

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


PARENT_CHECK_S = 0.25
SWITCH_INTERVAL_S = 0.0005
_LONGEST_ORDER = 1 << 20


class Faults:
    """Numbers failures: records carry the number, ``known`` the sentence under it."""

    def __init__(self) -> None:
        self.known: list[dict[str, Any]] = []
        self._numbers: dict[tuple[int, int, str], int] = {}
        self._lock = threading.Lock()

    def assign_number(self, slot: int, lane: int, error: SourceError) -> int:
        """The number of this failure, a new one the first time that it occurs."""
        key = (slot, lane, str(error))
        with self._lock:
            if key not in self._numbers:
                self._numbers[key] = len(self.known)
                self.known.append({"slot": slot, "lane": lane, "why": str(error.why.value), "text": str(error)})
            return self._numbers[key]


class Subscriber:
    """One connection and what it asked to watch. Answers are sent from several threads."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.keys: list[int] = []
        self.slots: list[int] = []
        self.exporters: list[int] = []
        self.pages: list[int] = []
        self._rest = b""
        self._lock = threading.Lock()

    def orders(self) -> list[dict[str, Any]] | None:
        """The orders that have arrived; None once the connection has ended."""
        try:
            read = self.connection.recv(65536)
        except ConnectionError:
            return None
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [json.loads(line) for line in lines] if read and len(self._rest) < _LONGEST_ORDER else None

    def answer(self, number: int, content: dict[str, Any]) -> None:
        """Answers the order of this number; does nothing if the connection has ended."""
        line = json.dumps({"id": number, **content}).encode() + b"\n"
        with self._lock:
            try:
                self.connection.sendall(line)
            except OSError:
                return  # the connection has ended, which is noticed where it is read


class Control:
    """Takes orders from subscribers and passes them to the lanes."""

    def __init__(self, hz: float, rings: list[Ring], ring_fds: list[int]) -> None:
        self._ring_fds = ring_fds
        self._faults = Faults()
        self._watched: dict[int, int] = {}
        self._branches: dict[int, Branch] = {}
        self._numbers: dict[str | None, int] = {None: 0}
        self._sampled: dict[int, int] = {}
        self._facts: dict[int, DeviceFacts] = {}
        self._sharing = SharingLane()
        self._threads = ThreadsLane()
        self._memory = MemoryLane(rings[0], Pace(round(1e9 / (EAGERNESS * hz))), self._faults.assign_number)
        matcher = ProcessMatcher(parent_pid(), host=find_host_proc())
        self._driver = DriverLane(rings[1], self._faults.assign_number, self._list_engines, matcher)
        self._exporters = ExportersLane(rings[2], self._faults.assign_number)
        self._pages = PagesLane(self._exporters.publish, self._faults.assign_number)
        for lane in (self._sharing, self._threads, self._memory, self._driver):
            lane.start()

    # ------------------------------------------------------------------------------------------------ connections

    def run(self, owner: socket.socket, listener: socket.socket | None) -> None:
        """Serves until the owner's connection or the owner itself ends. ``listener`` admits other processes."""
        with selectors.DefaultSelector() as selector:
            selector.register(owner, selectors.EVENT_READ, Subscriber(owner))
            if listener is not None:
                selector.register(listener, selectors.EVENT_READ, None)
            while not is_orphan():
                for key, _ in selector.select(PARENT_CHECK_S):
                    if listener is not None and key.fileobj is listener:
                        self._admit(listener, selector)
                    elif not self._serve(key.data):
                        if key.fileobj is owner:
                            return
                        selector.unregister(key.fileobj)
                        self._disconnect(key.data)

    def _admit(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        """Gives the rings to another process of this user."""
        connection, _ = listener.accept()
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] != os.getuid():
            connection.close()
            return
        socket.send_fds(connection, [b"\n"], self._ring_fds)
        selector.register(connection, selectors.EVENT_READ, Subscriber(connection))

    def _serve(self, subscriber: Subscriber) -> bool:
        orders = subscriber.orders()
        for order in orders or ():
            self._obey(subscriber, order)
        return orders is not None

    def _disconnect(self, subscriber: Subscriber) -> None:
        for key in subscriber.keys:
            self._stop_watching(key)
        for exporters in subscriber.exporters:
            self._exporters.stop_reading(exporters)
        for page in subscriber.pages:
            self._pages.stop_reading(page)
        self._driver.order(partial(self._stop_sampling, subscriber))
        subscriber.connection.close()

    # ----------------------------------------------------------------------------------------------------- orders

    def _obey(self, subscriber: Subscriber, order: dict[str, Any]) -> None:
        answer = partial(subscriber.answer, order["id"])
        match order["do"]:
            case "watch":
                key = self._watch(Branch(order["pid"], order["file"]))
                subscriber.keys.append(key)
                answer({"key": key})
            case "stop_watching":
                if order["key"] in subscriber.keys:
                    subscriber.keys.remove(order["key"])
                    self._stop_watching(order["key"])
                answer({})
            case "survey":
                self._sharing.survey(partial(answer, {}))
            case "contacts":
                answer({"contacts": self._sharing.list_contacts(order["key"])})
            case "thread_times":
                answer({"times": [self._threads.read(key) for key in order["keys"]]})
            case "devices":
                self._in_driver_lane(answer, self._list_devices)
            case "sample":
                self._in_driver_lane(answer, partial(self._sample, subscriber, order["slots"]))
            case "edge":
                self._in_driver_lane(answer, partial(self._edge, align=order["align"]))
            case "exporters":
                subscriber.exporters.append(self._exporters.read(order, answer))
            case "stop_reading":
                if order["exporters"] in subscriber.exporters:
                    subscriber.exporters.remove(order["exporters"])
                    self._exporters.stop_reading(order["exporters"])
                answer({})
            case "read_page":
                self._read_page(subscriber, order, answer)
            case "stop_reading_page":
                if order["page"] in subscriber.pages:
                    subscriber.pages.remove(order["page"])
                    self._pages.stop_reading(order["page"])
                answer({})
            case "faults":
                answer({"faults": self._faults.known})

    def _read_page(
        self, subscriber: Subscriber, order: dict[str, Any], answer: Callable[[dict[str, Any]], None]
    ) -> None:
        try:
            number = self._pages.read(order)
        except ValueError as error:
            answer({"error": str(error)})
            return
        subscriber.pages.append(number)
        answer({"page": number})

    def _in_driver_lane(self, answer: Callable[[dict[str, Any]], None], what: Callable[[], dict[str, Any]]) -> None:
        def run() -> None:
            try:
                answer(what())
            except SourceError as error:
                answer({"error": str(error), "why": str(error.why.value)})

        self._driver.order(run)

    def _watch(self, branch: Branch) -> int:
        """Samples a branch from now on; returns the key of its records."""
        key = key_of(branch.root, self._numbers.setdefault(branch.file, len(self._numbers)))
        reader = open_reader(branch.root)
        if reader is None:
            self._memory.watch(key, None)
            return key
        self._watched[key] = self._watched.get(key, 0) + 1
        if self._watched[key] > 1:
            reader.close()
            return key
        self._branches[key] = branch
        memory = BranchMemory(key, branch, reader, partial(self._sharing.distrust, key))
        self._memory.watch(key, memory)
        self._sharing.add(key, branch, memory)
        self._threads.add(key, branch.list_pids)
        return key

    def _stop_watching(self, key: int) -> None:
        if _one_less(self._watched, key):
            self._branches.pop(key, None)
            self._memory.stop_watching(key)
            self._sharing.remove(key)
            self._threads.remove(key)

    def _list_engines(self) -> dict[int, tuple[int, ...]]:
        """The processes of each branch, by its key."""
        return {key: branch.list_pids() for key, branch in tuple(self._branches.items())}

    def _list_devices(self) -> dict[str, Any]:
        found = self._driver.devices(partial(open_backend, self._driver.begin_call, self._driver.end_call))
        self._facts = {facts.slot: facts for facts in found}
        return {"devices": [asdict(facts) for facts in found]}

    def _sample(self, subscriber: Subscriber, slots: list[int]) -> dict[str, Any]:
        """Samples exactly these slots for this subscriber from now on."""
        if unknown := set(slots) - self._facts.keys():
            raise SourceError(f"the driver was not asked for a device {min(unknown)} yet", Why.ABSENT)
        for slot in slots:
            if slot not in subscriber.slots:
                subscriber.slots.append(slot)
                self._sampled[slot] = self._sampled.get(slot, 0) + 1
                source = self._driver.sample(self._facts[slot])
                if source is not None and self._sampled[slot] == 1:
                    self._memory.sample(slot, source)
        self._stop_sampling(subscriber, but=slots)
        self._driver.edge(align=False)
        return {}

    def _stop_sampling(self, subscriber: Subscriber, but: Collection[int] = ()) -> None:
        for slot in set(subscriber.slots) - set(but):
            subscriber.slots.remove(slot)
            if _one_less(self._sampled, slot):
                self._memory.stop_sampling(slot)
                self._driver.stop_sampling(slot)

    def _edge(self, *, align: bool) -> dict[str, Any]:
        self._driver.edge(align=align)
        return {"names": {str(pid): name for pid, name in self._driver.names.items()}, "faults": self._faults.known}


def _one_less(counts: dict[int, int], key: int) -> bool:
    """Counts one user of ``key`` less; returns whether it was the last."""
    if counts.get(key, 0) > 1:
        counts[key] -= 1
        return False
    return counts.pop(key, None) is not None


def _listen(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0" + address)
    listener.listen()
    return listener


def _die(arguments: threading.ExceptHookArgs) -> None:
    """Ends the process when a lane fails: a sampler without one of its lanes would only look alive."""
    traceback.print_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
    sys.stderr.flush()
    os._exit(70)


def main(arguments: list[str]) -> None:
    """Runs the sampler process; the arguments are those of the first line of this file."""
    end_with_parent()
    threading.excepthook = _die
    # The memory lane must wait neither for a lane that parses a page, nor for a garbage collection of all imports.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()
    hz, socket_fd, address, *ring_fds = arguments
    fds = list(map(int, ring_fds))
    # Other processes may connect as soon as the rings show that the process runs, so it listens before.
    listener = _listen(address) if address else None
    with socket.socket(fileno=int(socket_fd)) as owner:
        Control(float(hz), [Ring(fd) for fd in fds], fds).run(owner, listener)
    sys.stderr.flush()
    # The lanes may be inside a driver call that never returns.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
