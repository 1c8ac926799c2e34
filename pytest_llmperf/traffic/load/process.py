"""The process of the load client, seen from pytest: it takes requests and returns timings and its own health."""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from pytest_llmperf.measurement.load import ClientHealth, Lag
from pytest_llmperf.system.child_process import ChildProcess
from pytest_llmperf.traffic.load.wire import (
    END,
    PLAN,
    PROGRESS,
    REQUEST,
    SUMMARY,
    TIMINGS,
    Frames,
    frame,
    unpack_timings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.traffic.load.wire import Order, Plan

_CHILD_MODULE = "pytest_llmperf.traffic.load.main"
_READ_SIZE = 2**20
_INTERRUPTED_TIMEOUT_S = 30.0
_EXIT_TIMEOUT_S = 2.0
# The load client reports every 250 ms, but for the time in which it parses 256 MiB of answers at most.
_SILENCE_TIMEOUT_S = 120.0
_UNHEARD_S = 5.0
_FEEDER_TIMEOUT_S = 10.0


class LoadClientDied(Exception):  # noqa: N818
    """The process that sends a load ended before the load did; the message is one line."""


@dataclass(frozen=True)
class LoadProgress:
    """Requests of a load that were sent, ended and failed so far, ``seconds`` after its start.

    For ``silent_s`` seconds nothing has come to the requests in flight, and for ``unheard_s`` seconds the load client
    itself has told nothing.
    """

    sent: int = 0
    ended: int = 0
    failed: int = 0
    seconds: float = 0.0
    silent_s: float = 0.0
    unheard_s: float = 0.0


@dataclass(frozen=True)
class LoadOutcome:
    """The result of a load, as the load process reports it.

    Attributes:
        timings: of the requests that were sent, by the number of the request.
        begun_ns: start of the load.
        health: of the process that sent it; None if it was sent by this one or could not tell.
        stopped: why the load ended early, or "".
        interrupted: whether a KeyboardInterrupt ended it.
    """

    timings: Mapping[int, RequestTiming]
    begun_ns: int
    health: ClientHealth | None
    stopped: str
    interrupted: bool = False


def run_load(
    plan: Plan,
    orders: Iterable[Order],
    progress: Callable[[LoadProgress], None] = lambda _: None,
    event_loop: str = "auto",
) -> LoadOutcome:
    """Sends a load from a process of its own and waits for its end.

    ``progress`` is called several times a second. ``event_loop`` is ``auto`` (uvloop if it is installed) or
    ``asyncio``. A KeyboardInterrupt ends the load and is not raised: the outcome has what came until then, and
    ``interrupted`` is True.

    Raises:
        LoadClientDied: the process ended early; the message says how many requests had ended.
    """
    with _Client(event_loop) as client:
        client.feed(plan, orders)
        try:
            return client.collect(progress)
        except KeyboardInterrupt:
            return client.interrupt(progress)


class _Client:
    """The process and the pipes to and from it."""

    def __init__(self, event_loop: str) -> None:
        orders, self._orders = os.pipe()
        self._results, results = os.pipe()
        try:
            self._process = ChildProcess(_CHILD_MODULE, [str(orders), str(results), event_loop], [orders, results])
        except BaseException:
            os.close(self._orders)
            os.close(self._results)
            raise
        finally:
            os.close(orders)
            os.close(results)
        self._frames = Frames()
        self._progress = LoadProgress()
        self._first_progress_s = 0.0
        self._blocks: list[bytes] = []
        self._feeder: threading.Thread | None = None
        # When the feeder began to write what the process has not taken yet, and when this took the last; 0 for never.
        self._writes_since_s = self._taken_s = 0.0
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()
        if self._feeder is not None:
            self._feeder.join(_FEEDER_TIMEOUT_S)  # its pipe is broken now
        if self._feeder is None or not self._feeder.is_alive():
            os.close(self._orders)
        os.close(self._results)

    def feed(self, plan: Plan, orders: Iterable[Order]) -> None:
        """Starts a thread that writes the plan and all orders to the process, as fast as it reads them."""
        self._feeder = threading.Thread(target=self._feed, args=(plan, orders), name="llmperf-load", daemon=True)
        self._feeder.start()

    def _feed(self, plan: Plan, orders: Iterable[Order]) -> None:
        try:
            self._write(PLAN, plan.pack())
            for order in orders:
                self._write(REQUEST, order.pack())
            self._write(END, b"")
        except BrokenPipeError:
            return  # the process has ended, which collect() reports
        except Exception as error:
            self._failure = error
            self._process.kill()

    def _write(self, kind: bytes, payload: bytes) -> None:
        view = memoryview(frame(kind, payload))
        while view:
            self._writes_since_s = time.monotonic()
            view = view[os.write(self._orders, view) :]
            self._taken_s, self._writes_since_s = time.monotonic(), 0.0

    def interrupt(self, progress: Callable[[LoadProgress], None]) -> LoadOutcome:
        """Ends the load and collects what has come; the outcome is empty if the process cannot give it."""
        self._process.interrupt()
        with contextlib.suppress(LoadClientDied):
            return replace(self.collect(progress, time.monotonic() + _INTERRUPTED_TIMEOUT_S), interrupted=True)
        return LoadOutcome({}, 0, None, "it was interrupted", interrupted=True)

    def collect(self, progress: Callable[[LoadProgress], None], deadline: float = float("inf")) -> LoadOutcome:
        """Reads from the process until the load has ended; ``deadline`` is a moment of ``time.monotonic()``.

        Raises:
            LoadClientDied: the process ended early or hangs, or the deadline passed.
        """
        heard_s = time.monotonic()
        while time.monotonic() < deadline:
            readable, _, _ = select.select([self._results], [], [], 1.0)
            if not readable:
                # A process that a test has forked may hold the pipe as well.
                if self._process.ended:
                    break
                self._check_silence(heard_s, progress)
                continue
            data = os.read(self._results, _READ_SIZE)
            if not data:
                break
            heard_s = time.monotonic()
            for kind, payload in self._frames.take(data):
                if kind == SUMMARY:
                    return self._outcome(json.loads(payload))
                if kind == TIMINGS:
                    self._blocks.append(payload)
                elif kind == PROGRESS:
                    self._record_progress(json.loads(payload))
                    progress(self._progress)
        raise self._failure or LoadClientDied(self._describe_death())

    def _check_silence(self, heard_s: float, progress: Callable[[LoadProgress], None]) -> None:
        """Tells of a silence of the process, and ends it when that lasts too long.

        Before its first progress it waits for orders, whose texts may take any time to make.
        """
        if not self._first_progress_s and self._feeder and self._feeder.is_alive() and not self._writes_since_s:
            return
        unheard_s = time.monotonic() - max(heard_s, self._taken_s)
        if unheard_s > _SILENCE_TIMEOUT_S:
            stopped = " (it was stopped)" if self._process.stopped else ""
            silence = f"the load client was silent for {_SILENCE_TIMEOUT_S:g} s{stopped}"
            raise LoadClientDied(f"{silence}; {self._describe_loss()}")
        if unheard_s > _UNHEARD_S:
            progress(replace(self._progress, unheard_s=unheard_s))

    def _record_progress(self, counts: Mapping[str, Any]) -> None:
        now = time.monotonic()
        self._first_progress_s = self._first_progress_s or now
        self._progress = LoadProgress(**counts, seconds=now - self._first_progress_s)

    def _outcome(self, summary: Mapping[str, Any]) -> LoadOutcome:
        timings = {
            number: timing for block in self._blocks for number, timing in unpack_timings(block, summary["strings"])
        }
        health = summary["health"]
        scheduled = [t for t in timings.values() if t.scheduled_ns is not None]
        lags = [(t.sent_ns - t.scheduled_ns) / 1e9 for t in scheduled if t.scheduled_ns is not None]
        complete = ClientHealth(**{**health, "loop_lag": Lag(**health["loop_lag"])}, schedule_lag=Lag.of(lags))
        return LoadOutcome(timings, summary["begun_ns"], complete, summary["stopped"])

    def _describe_death(self) -> str:
        self._process.stop(_EXIT_TIMEOUT_S)
        return f"the load client died ({self._process.why_ended()}); {self._describe_loss()}"

    def _describe_loss(self) -> str:
        return f"{self._progress.ended} of {self._progress.sent} requests had ended, and their timings are lost"
