"""Lists of a device's processes as the driver lane publishes them, for the tests of attribution: GiB and ms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.window import Window
from pytest_llmperf.telemetry.analysis.attribution import Baseline, Listing, read_listings
from pytest_llmperf.telemetry.records.ring import (
    ENGINE_SHARE,
    KNOWN,
    LISTED,
    MATCHED,
    PROCESS,
    STEADY,
    VISIBLE,
    RingRecord,
)
from pytest_llmperf.telemetry.records.source import DeviceFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

GIB = 2**30
MS = 1_000_000
L4 = DeviceFacts(2, "GPU-1", "NVIDIA L4", 0, "nvml", "cuda", total_bytes=24 * GIB, memory_api="NVML memory v2")
WINDOW = Window(1000 * MS, 2000 * MS)
ENGINE, OTHER_ENGINE, PYTEST, STRANGER, SOMEBODY = 100, 200, 300, 400, 500
NOBODY = Baseline(GIB)


def listed(
    t_ms: int,
    level: float,
    *processes: tuple[int, float | None, int],
    shares: Sequence[tuple[int, float, int]] = (),
    steady: bool = True,
    slot: int = L4.slot,
) -> list[RingRecord]:
    """A list as the driver lane publishes it: (pid, GiB or None, flags) each, and (root, GiB, flags) of engines."""
    t = t_ms * MS
    records = [
        RingRecord(t, round((used or 0) * GIB), slot, pid, PROCESS, flags | (0 if used is None else KNOWN))
        for pid, used, flags in processes
    ]
    records += [RingRecord(t, round(held * GIB), slot, root, ENGINE_SHARE, flags) for root, held, flags in shares]
    end = RingRecord(t, round(level * GIB), slot, len(processes), LISTED, STEADY if steady else 0)
    return [*records, end]


def matched(t_ms: int, level: float, held: float, how: int = MATCHED, *, steady: bool = True) -> list[RingRecord]:
    """A list with the engine in it, by its root process."""
    return listed(t_ms, level, (ENGINE, held, how | VISIBLE), shares=[(ENGINE, held, how | KNOWN)], steady=steady)


def read(*records: Sequence[RingRecord]) -> list[Listing]:
    return read_listings([record for one in records for record in one], L4.slot, [ENGINE])
