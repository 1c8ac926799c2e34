"""Asks an engine again and again how many requests it works on, in a thread of pytest's process."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.reading import Missing
from pytest_llmperf.plugin.cancelling.notice import RunningLook

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.engine import Engine

# While nothing is known to be cancelled a look is not to cost more than the engine's own are.
_SLOW_S = 0.05
_FAST_S = 0.005
_JOIN_S = 30.0


class RunningWatch:
    """Asks the engine from :meth:`start` to :meth:`stop`, or until it does not tell.

    Attributes:
        looks: what it said, in order of time.
    """

    def __init__(self, engine: Engine) -> None:
        self.looks: list[RunningLook] = []
        self._engine = engine
        self._hurry = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="llmperf-running", daemon=True)

    def start(self) -> None:
        """Begins to ask, 20 times a second."""
        self._thread.start()

    def hurry(self) -> None:
        """Asks as often as 200 times a second from now on: something was cancelled."""
        self._hurry.set()

    def stop(self) -> None:
        """Asks no more. May be called twice."""
        self._ended.set()
        self._hurry.set()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        while not self._ended.is_set():
            asked_ns = time.monotonic_ns()
            running = self._engine.insight.count_running()
            self.looks.append(RunningLook(asked_ns, time.monotonic_ns(), running))
            if isinstance(running, Missing):
                return
            if self._hurry.is_set():
                self._ended.wait(_FAST_S)
            else:
                self._hurry.wait(_SLOW_S)
