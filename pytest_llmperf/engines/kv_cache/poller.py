"""Polls a server's metrics in a thread while a test runs."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_llmperf.system.prometheus import MetricsPage, Sample

T = TypeVar("T")
POLLS_PER_SECOND = 20.0


class Poller(Generic[T]):
    """Reads a page about ``hz`` times a second until it is stopped; it closes the page then.

    ``take`` is called with the samples and the times of request and answer (ns), and returns what ``polls`` collects.
    ``failure`` is why the last reading failed; "" if it did not.
    """

    def __init__(
        self, page: MetricsPage, take: Callable[[Sequence[Sample], int, int], T], hz: float = POLLS_PER_SECOND
    ) -> None:
        self._page = page
        self._take = take
        self._period = 1 / hz
        self._ended = threading.Event()
        self.polls: list[T] = []
        self.failure = ""
        self._thread = threading.Thread(target=self._run, name="llmperf-poller", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when the last reading is done. May be called twice."""
        self._ended.set()
        self._thread.join()
        self._page.close()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            self._poll()
            # A reading that took too long is not made up for.
            due = max(due + self._period, time.monotonic())

    def _poll(self) -> None:
        asked_ns = time.monotonic_ns()
        try:
            samples = self._page.read()
            self.polls.append(self._take(samples, asked_ns, time.monotonic_ns()))
        except (OSError, ValueError) as error:
            self.failure = str(error)
        else:
            self.failure = ""
