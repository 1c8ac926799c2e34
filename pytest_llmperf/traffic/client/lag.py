"""How late a client was in stamping what came: a beat beside its requests notes by how much it is late itself.

What keeps a client from stamping keeps the beat from running: a host without a free core, a process that was stopped,
another thread that holds the interpreter, other work in the event loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTERVAL_S = 0.005
# Timers of event loops count whole milliseconds, so that less is no lag.
_LEAST_NS = 2_000_000
_MOST_KEPT = 100_000
# While a request is sent, its thread waits for the interpreter or a core this often at most, each time about as long as
# the beat. What it waited beyond that was for a server which was late to accept or to read.
_MOST_WAITS = 10


@dataclass
class Lateness:
    """How much later than its stamp a request may have been sent, and its answer stamped than it came, in ns."""

    sending_ns: int = 0
    reading_ns: int = 0


class Stamped(Protocol):
    """A request whose stamps are made beside a beat.

    ``late`` takes how late they may be. ``seen_sending_ns`` and ``seen_reading_ns`` are what was measured of it at the
    socket, in ns, which the beat can only estimate; None if it was not.
    """

    sent_ns: int
    end_ns: int
    seen_sending_ns: int | None
    seen_reading_ns: int | None
    late: Lateness | None


class Beat(ABC):
    """Something that is due every ``interval_s`` seconds from :meth:`start` to :meth:`stop`."""

    def __init__(self, interval_s: float = _INTERVAL_S) -> None:
        self._interval_ns = round(interval_s * 1e9)
        self._late: deque[tuple[int, int]] = deque(maxlen=_MOST_KEPT)
        self._lock = threading.Lock()
        self._users = 0
        self._due_ns = 0

    @contextmanager
    def beside(self, request: Stamped) -> Iterator[None]:
        """Beats while a request is under way, and notes in it how late its stamps may be."""
        self.start()
        try:
            yield
        finally:
            worst = self.find_worst(request.sent_ns, request.end_ns)
            sending, reading = request.seen_sending_ns, request.seen_reading_ns
            sending = worst if sending is None else min(sending, _MOST_WAITS * max(worst, _LEAST_NS))
            request.late = Lateness(sending, worst if reading is None else reading)
            self.stop()

    def start(self) -> None:
        """Beats from now on, until each start has had its stop."""
        with self._lock:
            self._users += 1
            is_first = self._users == 1
            if is_first:
                self._due_ns = time.monotonic_ns() + self._interval_ns
        if is_first:
            self._begin()

    def stop(self) -> None:
        """Ends what :meth:`start` began. What was late is forgotten with the last stop."""
        with self._lock:
            self._users -= 1
            if not self._users:
                self._due_ns = 0
                self._late.clear()

    def find_worst(self, start_ns: int, end_ns: int) -> int:
        """The ns by which it was late at most between two moments, with a beat that is due still; 0 for no lag."""
        with self._lock:
            late = [*self._late, (self._due_ns, time.monotonic_ns())] if self._due_ns else list(self._late)
        worst = max((ran - due for due, ran in late if due < end_ns and ran > start_ns), default=0)
        return worst if worst >= _LEAST_NS else 0

    @abstractmethod
    def _begin(self) -> None:
        """Sees to it that :meth:`_run` is called when it is due; its result is when it is due again, in ns, or 0."""

    def _run(self) -> int:
        now = time.monotonic_ns()
        with self._lock:
            if not self._users:
                return 0
            if now - self._due_ns >= _LEAST_NS:
                self._late.append((self._due_ns, now))
            self._due_ns = now + self._interval_ns
            return self._due_ns


class ThreadBeat(Beat):
    """The beat of blocking calls: a thread beside them, which sleeps while there are none."""

    def __init__(self) -> None:
        super().__init__()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None

    def _begin(self) -> None:
        self._wanted.set()
        if self._thread is None or not self._thread.is_alive():  # a fork leaves the thread behind
            self._thread = threading.Thread(target=self._beat, name="llmperf-beat", daemon=True)
            self._thread.start()

    def _beat(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            due_ns = self._due_ns
            while due_ns:
                time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
                due_ns = self._run()


class LoopBeat(Beat):
    """The beat of an event loop, which must be running when it starts."""

    def __init__(self, interval_s: float = _INTERVAL_S) -> None:
        super().__init__(interval_s)
        self._timer: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        super().stop()
        if not self._users and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval_ns / 1e9, self._beat)

    def _beat(self) -> None:
        if self._run():
            self._begin()


_THREADS = ThreadBeat()
_LOOPS: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopBeat] = WeakKeyDictionary()


def find_beat_of_threads() -> ThreadBeat:
    """The beat of this process, for blocking calls."""
    return _THREADS


def find_beat_of_loop() -> LoopBeat:
    """The beat of the running event loop, which all of its requests share."""
    loop = asyncio.get_running_loop()
    if loop not in _LOOPS:
        _LOOPS[loop] = LoopBeat()
    return _LOOPS[loop]
