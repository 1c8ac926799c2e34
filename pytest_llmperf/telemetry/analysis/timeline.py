"""The host memory of branches of processes over a window: pure functions from records to a ``MemoryTrace``."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import attrgetter
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.memory_trace import MemoryTrace, select_around
from pytest_llmperf.telemetry.records.ring import GONE, HOST, RSS_ONLY, RingRecord, is_part, pid_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from pytest_llmperf.measurement.window import Window

SMALLEST_GAP_NS = 250_000_000
PERIODS_IN_GAP = 10
# A host that holds every process up for half a second does not make a test of minutes worthless.
UNSEEN_SHARE = 0.005


@dataclass(frozen=True)
class Sampling:
    """How the records of a window came about, beside the records themselves.

    Attributes:
        period_ns: distance of the samples, as the sampler has set it.
        oldest_ns: time of the oldest record left if the ring has overwritten some, else 0.
        fault: why the samples cannot be trusted, "" if nothing is known against them.
        missing: why there are no samples though the sampler works, "" if they are expected.
    """

    period_ns: int
    oldest_ns: int = 0
    fault: str = ""
    missing: str = ""


def largest_gap_ns(period_ns: int) -> int:
    """The longest gap between samples that is still trusted, in ns: 0.25 s or 10 periods, whichever is longer."""
    return max(SMALLEST_GAP_NS, PERIODS_IN_GAP * period_ns)


def sum_levels(
    records: Iterable[RingRecord], keys: Sequence[int], ended: Collection[int] = ()
) -> list[tuple[int, int]]:
    """(time in ns, bytes summed over ``keys``) per tick, from host records in order of time.

    A key without a record in a tick keeps its last value. One that has ended no longer counts, or counts as 0 if it is
    in ``ended``, the keys of what was ended on purpose. A tick at which no key counts is left out.
    """
    levels: dict[int, int] = {}
    summed: list[tuple[int, int]] = []
    for t_ns, tick in groupby(_select(records, keys), key=attrgetter("t_ns")):
        for record in tick:
            if record.flags & GONE and record.key in ended:
                levels[record.key] = 0
            elif record.flags & GONE:
                levels.pop(record.key, None)
            else:
                levels[record.key] = record.value
        if levels:
            summed.append((t_ns, sum(levels.values())))
    return summed


def build_host_trace(
    records: Sequence[RingRecord],
    window: Window,
    keys: Sequence[int],
    sampling: Sampling,
    ended: Collection[int] = (),
) -> MemoryTrace:
    """The memory of the branches of processes with these keys over a window, in bytes.

    ``records`` reach a little beyond the window on both sides. ``ended`` are the keys of those ended on purpose: they
    hold nothing from then on, whereas another process that ended is a fault.
    """
    period_ns, missing = sampling.period_ns, sampling.missing
    samples = sum_levels(records, keys, ended)
    live = [key for key in keys if key not in ended]
    if keys and not live:
        # All have ended, so no further level is read.
        since_ns = samples[-1][0] if samples else window.start_ns - period_ns
        samples += [(at_ns, 0) for at_ns in range(since_ns + period_ns, window.end_ns + period_ns, period_ns)]
    kept, before = select_around(samples, window)
    gap = find_largest_gap(kept, window)
    fault = (
        _explain_ended_engine(records, window, live)
        or sampling.fault
        or why_overwritten(window, sampling.oldest_ns)
        or ("" if missing else _explain_unwatched(records, keys, ended) or why_unseen(kept, window, period_ns))
    )
    return MemoryTrace(kept, _source(records, keys, kept), before, None, "", gap, fault, missing)


def _select(records: Iterable[RingRecord], keys: Sequence[int]) -> Iterable[RingRecord]:
    wanted = set(keys)
    return (record for record in records if record.lane == HOST and record.key in wanted)


def find_largest_gap(samples: Sequence[tuple[int, int]], window: Window) -> int:
    """The longest time in ns without a sample, from the start of the window to its end."""
    return max(_list_gaps(samples, window), default=0)


def _list_gaps(samples: Sequence[tuple[int, int]], window: Window) -> list[int]:
    """The times in ns between two samples, from the start of the window to its end."""
    times = [t for t, _ in samples]
    if not times or times[0] > window.start_ns:
        times.insert(0, window.start_ns)
    if times[-1] < window.end_ns:
        times.append(window.end_ns)
    return [b - a for a, b in pairwise(times)]


def _explain_ended_engine(records: Sequence[RingRecord], window: Window, keys: Sequence[int]) -> str:
    for record in _select(records, keys):
        if record.flags & GONE and record.t_ns <= window.end_ns:
            when = "during" if record.t_ns >= window.start_ns else "before"
            return f"the engine's process {pid_of(record.key)} ended {when} the test"
    return ""


def why_overwritten(window: Window, oldest_ns: int) -> str:
    """Why the ring no longer holds the start of the window, or "". ``oldest_ns`` is 0 if nothing was overwritten."""
    if oldest_ns <= window.start_ns:
        return ""
    lost = (min(oldest_ns, window.end_ns) - window.start_ns) / 1e9
    return f"the first {lost:.1f} s of the test were overwritten in the sampler's ring: the test ran too long"


def _explain_unwatched(records: Sequence[RingRecord], keys: Sequence[int], ended: Collection[int]) -> str:
    missing = sorted(set(keys) - set(ended) - {record.key for record in _select(records, keys)})
    if not keys:
        return "the engine has no process to watch"
    return f"the sampler did not watch process {pid_of(missing[0])} during the test" if missing else ""


def why_unseen(samples: Sequence[tuple[int, int]], window: Window, period_ns: int) -> str:
    """Why the gaps between samples leave too much of a window unseen at this sampling period, or "".

    Gaps that :func:`largest_gap_ns` does not trust may add up to as much, or to 0.5 % of the window if that is longer.
    """
    trusted_ns = largest_gap_ns(period_ns)
    unseen_ns = sum(gap for gap in _list_gaps(samples, window) if gap > trusted_ns)
    tolerated_ns = max(trusted_ns, UNSEEN_SHARE * (window.end_ns - window.start_ns))
    return f"the sampler missed {unseen_ns / 1e9:.2f} s of the test" if unseen_ns > tolerated_ns else ""


def _source(records: Sequence[RingRecord], keys: Sequence[int], samples: Sequence[tuple[int, int]]) -> str:
    """``RSS less shared pages of the engine's process tree (2 processes), 199 samples/s``.

    It does not say PSS: PSS is read about once a second only, to correct the RSS that is read at the full rate. A
    single process shares nothing within its tree, so its memory is RSS.
    """
    if not samples:
        return "memory of the engine's process tree, no sample"
    start, end = samples[0][0], samples[-1][0]
    counts: dict[int, int] = {}
    rss_only = False
    for record in _select(records, keys):
        if start <= record.t_ns <= end:
            counts[record.key] = max(counts.get(record.key, 0), record.detail)
            rss_only |= bool(record.flags & RSS_ONLY)
    processes = sum(counts.values())
    whose = "the server's own process and its model's" if any(map(is_part, keys)) else "the engine's process tree"
    if processes == 1:
        text = "RSS of the engine's process"
    elif rss_only:
        text = f"RSS of {whose} ({processes} processes, shared pages counted in full)"
    else:
        text = f"RSS less shared pages of {whose} ({processes} processes)"
    return f"{text}, {describe_rate(samples)}"


def describe_rate(samples: Sequence[tuple[int, int]]) -> str:
    """The rate at which these samples were taken: ``199 samples/s``."""
    if len(samples) < 2:
        return "1 sample" if samples else "no sample"
    rate = (len(samples) - 1) / ((samples[-1][0] - samples[0][0]) / 1e9)
    return f"{rate:.{0 if rate >= 10 else 1}f} samples/s"
