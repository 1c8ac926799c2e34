"""The load client as a process, seen from pytest: it is given requests, and gives timings and its own health back."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from pytest_llmperf.measurement.load import ClientHealth, Lag
from pytest_llmperf.system.child_process import environment_of_ours
from pytest_llmperf.traffic.load.wire import (
    END,
    PLAN,
    PROGRESS,
    REQUEST,
    SUMMARY,
    TIMINGS,
    Frames,
    Order,
    frame,
    unpack_timings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_llmperf.measurement.request import RequestTiming

_CHILD_MODULE = "pytest_llmperf.traffic.load.main"
_READ_SIZE = 2**20
_LAST_WORDS_S = 30.0


class LoadClientDied(Exception):  # noqa: N818
    """The load client ended before its load did; the message is one line."""


@dataclass(frozen=True)
class Progress:
    """How far a load has come, ``seconds`` after it began."""

    sent: int = 0
    ended: int = 0
    failed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class LoadOutcome:
    """What a load client has told: timings by the number of the request, when it began, and how it fared itself.

    ``stopped`` is why it ended before its end, empty when it did not.
    """

    timings: Mapping[int, RequestTiming]
    begun_ns: int
    health: ClientHealth | None
    stopped: str
    interrupted: bool = False


def run_load(
    plan: Mapping[str, Any],
    orders: Iterable[Order],
    progress: Callable[[Progress], None] = lambda _: None,
    event_loop: str = "auto",
) -> LoadOutcome:
    """Carries out a load in a process of its own. ``event_loop`` is ``auto`` (uvloop if there is one) or ``asyncio``.

    A KeyboardInterrupt ends the load and is held back: what has come until then is returned, ``interrupted`` set.

    Raises:
        LoadClientDied: with how far it had come.
    """
    with _Client(event_loop) as client:
        client.feed(plan, orders)
        try:
            return client.collect(progress)
        except KeyboardInterrupt:
            return client.last_words(progress)


class _Client:
    """The process and the two pipes to it."""

    def __init__(self, event_loop: str) -> None:
        # Nothing here has a name in the file system: nothing is left behind, however this process ends.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        orders, self._orders = os.pipe()
        self._results, results = os.pipe()
        command = [sys.executable, "-P", "-m", _CHILD_MODULE, str(orders), str(results), event_loop]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=environment_of_ours(),
                pass_fds=[orders, results],
                # Ctrl-C is for pytest, which says what becomes of the load.
                start_new_session=True,
            )
        finally:
            os.close(orders)
            os.close(results)
        self._frames = Frames()
        self._progress = Progress()
        self._first_progress_s = 0.0
        self._blocks: list[bytes] = []
        self._feeder: threading.Thread | None = None
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        if self._feeder is not None:
            self._feeder.join()  # its pipe is broken now
        os.close(self._orders)
        os.close(self._results)
        self._log.close()

    def feed(self, plan: Mapping[str, Any], orders: Iterable[Order]) -> None:
        """Gives it the plan and all orders as fast as it takes them, from a thread."""
        self._feeder = threading.Thread(target=self._feed, args=(plan, orders), name="llmperf-load")
        self._feeder.start()

    def _feed(self, plan: Mapping[str, Any], orders: Iterable[Order]) -> None:
        try:
            self._give(PLAN, json.dumps(plan).encode())
            for order in orders:
                self._give(REQUEST, order.pack())
            self._give(END, b"")
        except BrokenPipeError:
            return  # it has ended: whoever collects will see
        except Exception as error:
            self._failure = error
            self._process.kill()

    def _give(self, kind: bytes, payload: bytes) -> None:
        view = memoryview(frame(kind, payload))
        while view:
            view = view[os.write(self._orders, view) :]

    def last_words(self, progress: Callable[[Progress], None]) -> LoadOutcome:
        """Ends the load and waits for what has come of it; nothing where the client had not got that far."""
        self._process.send_signal(signal.SIGINT)
        with contextlib.suppress(LoadClientDied):
            return replace(self.collect(progress, time.monotonic() + _LAST_WORDS_S), interrupted=True)
        return LoadOutcome({}, 0, None, "it was interrupted", interrupted=True)

    def collect(self, progress: Callable[[Progress], None], deadline: float = float("inf")) -> LoadOutcome:
        while time.monotonic() < deadline:
            readable, _, _ = select.select([self._results], [], [], 1.0)
            data = os.read(self._results, _READ_SIZE) if readable else None
            if data == b"":
                break
            for kind, payload in self._frames.take(data or b""):
                if kind == SUMMARY:
                    return self._outcome(json.loads(payload))
                if kind == TIMINGS:
                    self._blocks.append(payload)
                elif kind == PROGRESS:
                    self._note(json.loads(payload))
                    progress(self._progress)
        raise self._failure or LoadClientDied(self._death())

    def _note(self, counts: Mapping[str, int]) -> None:
        now = time.monotonic()
        self._first_progress_s = self._first_progress_s or now
        self._progress = Progress(**counts, seconds=now - self._first_progress_s)

    def _outcome(self, summary: Mapping[str, Any]) -> LoadOutcome:
        timings = {
            number: timing for block in self._blocks for number, timing in unpack_timings(block, summary["strings"])
        }
        health = summary["health"]
        scheduled = [t for t in timings.values() if t.scheduled_ns is not None]
        lags = [(t.sent_ns - t.scheduled_ns) / 1e9 for t in scheduled if t.scheduled_ns is not None]
        told = ClientHealth(**{**health, "loop_lag": Lag(**health["loop_lag"])}, schedule_lag=Lag.of(lags))
        return LoadOutcome(timings, summary["begun_ns"], told, summary["stopped"])

    def _death(self) -> str:
        status = self._process.wait()
        how = f"killed by {_signal_name(-status)}" if status < 0 else f"exit status {status}"
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode(errors="replace").split("\n") if line.strip()]
        last = f": {lines[-1][:200]}" if lines else ""
        far = f"{self._progress.ended} of {self._progress.sent} requests had ended, and their timings are lost"
        return f"the load client died ({how}{last}); {far}"


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
