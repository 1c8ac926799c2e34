"""The slots of the simulated engine, the queue before them, and what both tell of themselves."""

from __future__ import annotations

import asyncio
import heapq
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class Work:
    """What a slot does: the request of a number at ``path``, its tokens, and those it has generated so far."""

    request: int
    path: str
    prompt_tokens: int
    generated_tokens: int = 0


class SlotQueue:
    """``count`` requests have a slot at the same time; ``limit`` others may wait, in order of arrival, any for 0."""

    def __init__(self, count: int, limit: int) -> None:
        self._count, self._limit = count, limit
        self._free = list(range(count))
        self._busy: dict[int, Work] = {}
        self._gate = asyncio.Semaphore(count)
        self.waiting = 0

    @property
    def running(self) -> int:
        """How many requests have a slot."""
        return len(self._busy)

    @property
    def is_full(self) -> bool:
        """Whether one more request would have to wait, and may not."""
        return 0 < self._limit <= self.waiting and self._gate.locked()

    @asynccontextmanager
    async def take(self, work: Work) -> AsyncIterator[bool]:
        """Has a slot while it lasts; yields whether it had to wait for it."""
        has_to_wait = self._gate.locked()
        self.waiting += has_to_wait
        try:
            await self._gate.acquire()
        finally:
            self.waiting -= has_to_wait
        slot = heapq.heappop(self._free)
        self._busy[slot] = work
        try:
            yield has_to_wait
        finally:
            del self._busy[slot]
            heapq.heappush(self._free, slot)
            self._gate.release()

    def describe(self) -> list[dict[str, Any]]:
        """Each slot, and what it does."""
        return [
            {"id": slot, "is_processing": slot in self._busy} | (asdict(self._busy[slot]) if slot in self._busy else {})
            for slot in range(self._count)
        ]
