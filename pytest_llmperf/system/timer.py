"""A timer for event loops that is exact to tens of microseconds; their own timers count whole milliseconds."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import time
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_ABSOLUTE = 1
_ITIMERSPEC = struct.Struct("@qqqq")


class Timer:
    """Calls functions at moments of ``time.monotonic_ns()``: by a kernel timer on Linux, else by the loop's own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: list[tuple[int, int, Callable[[], object]]] = []
        self._numbers = count()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = -1
        if sys.platform == "linux":
            self._fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._fd >= 0:
            loop.add_reader(self._fd, self._on_expiry)

    def call_at(self, due_ns: int, callback: Callable[[], object]) -> None:
        """Calls ``callback`` once in the event loop, at ``due_ns`` or as soon as possible after it."""
        heappush(self._due, (due_ns, next(self._numbers), callback))
        if self._due[0][0] == due_ns:
            self._arm()

    def close(self) -> None:
        """Drops the callbacks that are still due, and closes the kernel's timer. May be called twice."""
        self._due.clear()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _arm(self) -> None:
        due_ns = self._due[0][0]
        if self._fd >= 0:
            # 0 would switch the timer off; a moment in the past fires at once.
            seconds, rest = divmod(max(1, due_ns), 1_000_000_000)
            self._libc.timerfd_settime(self._fd, _ABSOLUTE, _ITIMERSPEC.pack(0, 0, seconds, rest), None)
        else:
            self._loop.call_later(max(0.0, (due_ns - time.monotonic_ns()) / 1e9), self._call)

    def _on_expiry(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # the timer was set anew after the loop had seen it expire
        self._call()

    def _call(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic_ns():
            heappop(self._due)[2]()
        if self._due:
            self._arm()
