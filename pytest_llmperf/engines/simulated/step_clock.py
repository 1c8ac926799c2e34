"""Time as the requests of a batch have it: the more of them there are, the slower it passes."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class StepClock:
    """Counts seconds; with n running requests each lasts ``1 + slowdown * (n - 1)`` seconds of the real clock.

    All requests share it, so that one that begins or ends moves what is due for the others. ``now`` is the real clock,
    in seconds; asyncio's own timers must count by it.
    """

    def __init__(self, slowdown: float, now: Callable[[], float] = time.monotonic) -> None:
        self._slowdown = slowdown
        self._now = now
        self._running = 0
        self._at, self._read_at = 0.0, now()
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def run_from(self, began: float) -> Iterator[float]:
        """Counts a request in, from its beginning on the real clock, and yields that moment on this one."""
        self._advance()
        start = self._at - (self._read_at - began) / self._factor
        self._change(+1)
        try:
            yield start
        finally:
            self._change(-1)

    async def sleep_until(self, due: float) -> None:
        """Waits until this clock shows ``due``."""
        if not self._slowdown:
            # Nothing can move what is due: the event loop's own timer is as exact, and costs less.
            await asyncio.sleep(max(0.0, due - self.read()))
            return
        wakes = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (due, next(self._order), wakes))
        self._set_timer()
        await wakes

    def read(self) -> float:
        """What this clock shows."""
        self._advance()
        return self._at

    @property
    def _factor(self) -> float:
        return 1 + self._slowdown * max(0, self._running - 1)

    def _advance(self) -> None:
        now = self._now()
        self._at, self._read_at = self._at + (now - self._read_at) / self._factor, now

    def _change(self, by: int) -> None:
        self._advance()
        self._running += by
        if self._slowdown:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)  # it was cancelled
        if self._sleepers:
            left = max(0.0, self._sleepers[0][0] - self.read()) * self._factor
            self._timer = asyncio.get_running_loop().call_later(left, self._wake)

    def _wake(self) -> None:
        now = self.read()
        # The timer of a loop rounds: what is due within its resolution is due.
        while self._sleepers and self._sleepers[0][0] <= now + 1e-6:
            _, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)
        self._set_timer()
