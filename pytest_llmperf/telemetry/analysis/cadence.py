"""The collection interval of DCGM exporters, and whether it suffices for a window.

An exporter shows what it collected last, the same values until its next collection. Reading it more often gives more
samples but no more information, so this module counts collections, not samples.
"""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING

from pytest_llmperf.telemetry.records.ring import ENERGY, MEMORY_TEMPERATURE, POWER, SM_CLOCK, TEMPERATURE
from pytest_llmperf.telemetry.records.source import SLOTS_PER_EXPORTER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_llmperf.telemetry.records.ring import RingRecord

MIN_COLLECTIONS = 10
_LIVELY = frozenset({POWER, ENERGY, TEMPERATURE, MEMORY_TEMPERATURE, SM_CLOCK})
_FASTEST_MS = 100
# Pages are read 5 times a second, so that no exporter is seen to collect more often than that.
_SEEN_AT_BEST_S = 0.2


def find_collection_interval_ns(records: Iterable[RingRecord]) -> int | None:
    """The interval of an exporter's collections in ns: the median distance of the times at which values change.

    An exporter collects its devices together, so a change on any of them counts. Of several exporters the longest
    interval is returned; None if one of them showed fewer than two changes.
    """
    last: dict[tuple[int, int], int] = {}
    changes: dict[int, list[int]] = {}
    for record in records:
        if record.lane not in _LIVELY:
            continue
        times = changes.setdefault(record.key // SLOTS_PER_EXPORTER, [])
        before = last.get((record.key, record.lane), record.value)
        last[record.key, record.lane] = record.value
        if record.value != before and record.t_ns not in times[-1:]:
            times.append(record.t_ns)
    if not changes or any(len(times) < 2 for times in changes.values()):
        return None
    return max(_median_distance(times) for times in changes.values())


def _median_distance(times: Sequence[int]) -> int:
    return round(statistics.median(b - a for a, b in itertools.pairwise(times)))


def why_too_seldom(interval_ns: int | None, window_seconds: float, url: str) -> str:
    """Why an exporter collects too seldom to give memory peaks, power and energy of a window, or "".

    ``interval_ns`` is from :func:`find_collection_interval_ns`. At least 10 collections must fall into the window.
    """
    if interval_ns is None:
        facts = f"the exporter at {url} was not seen to collect twice, so a test of {window_seconds:.3g} s is too short"
    else:
        count = int(window_seconds * 1e9 // interval_ns)
        if count >= MIN_COLLECTIONS:
            return ""
        noun = "collection" if count == 1 else "collections"
        facts = f"the exporter at {url} collects every {interval_ns / 1e9:.3g} s, a test of {window_seconds:.3g} s"
        facts += f" has {count} {noun}"
    return f"{facts}; at least {MIN_COLLECTIONS} are needed: {_cure(interval_ns, window_seconds)}"


def _cure(interval_ns: int | None, window_seconds: float) -> str:
    if interval_ns is not None and interval_ns <= 1.25e9 * _SEEN_AT_BEST_S:
        return f"make the test longer than {MIN_COLLECTIONS * interval_ns / 1e9:.2g} s"
    faster = f"start it with --collect-interval={_FASTEST_MS}, or DCGM_EXPORTER_INTERVAL={_FASTEST_MS} (milliseconds)"
    needed = MIN_COLLECTIONS * _SEEN_AT_BEST_S
    return faster if window_seconds >= needed else f"{faster}, and make the test longer than {needed:g} s"
