"""Memory that the simulated engine holds, so that a measurement finds it."""

from __future__ import annotations

import asyncio
import mmap
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_TOUCHED_AT_ONCE = 4 * 2**20


@asynccontextmanager
async def hold(size: int) -> AsyncIterator[None]:
    """Holds ``size`` bytes of private memory, each page written; they go back to the system at the end."""
    if not size:
        yield
        return
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        for start in range(0, size, _TOUCHED_AT_ONCE):
            pages = slice(start, min(start + _TOUCHED_AT_ONCE, size), mmap.PAGESIZE)
            area[pages] = b"\x01" * len(range(*pages.indices(size)))
            await asyncio.sleep(0)
        yield
