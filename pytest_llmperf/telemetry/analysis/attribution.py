"""Attributes device memory to the engine, from the level of a device and the lists of its processes.

Reading the level of a device is cheap, listing what each process holds is not. So the level is sampled at the full
rate, and what is not the engine's is subtracted, in the surest of the ways that
:data:`pytest_llmperf.measurement.memory_trace.Attribution` lists. Pure functions; all sizes are bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.memory_trace import Attribution, MemoryTrace, select_around
from pytest_llmperf.measurement.units import BYTES, format_value
from pytest_llmperf.telemetry.analysis.timeline import (
    Sampling,
    describe_rate,
    find_largest_gap,
    why_overwritten,
    why_unseen,
)
from pytest_llmperf.telemetry.records.ring import (
    DEVICE_MEMORY,
    ENGINE_SHARE,
    KNOWN,
    LISTED,
    MAPPED,
    MATCHED,
    OURS,
    PROCESS,
    STEADY,
    VISIBLE,
    RingRecord,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_llmperf.measurement.window import Window
    from pytest_llmperf.telemetry.records.source import DeviceFacts

# What others hold may change by this much without being mentioned.
_RESTLESS = 16 << 20
_WORDS: dict[Attribution, str] = {
    "pids": "less what is not of the engine's processes, which the driver lists by their pids",
    "nspid": "less what is not of the engine's processes, which the driver lists by pids of another namespace",
    "exclusive": "less the level before the engine started, when no other process was on the device",
    "rise": "less the level before the engine started; what others allocated or freed since then is counted too",
    "device": "of the whole device, whichever process holds it",
    "unified": "less the level before the engine started; the device computes in it and has no memory of its own",
}


@dataclass(frozen=True)
class Listing:
    """A list of the processes of a device, taken at ``t_ns`` at a level of ``level``.

    ``present`` is whether processes of the engine are in the list; ``held`` is what they hold, None if they are not in
    it or the driver does not say. ``others`` are the pids not known to be of this run; ``strangers`` are those of them
    that certainly are not; ``neighbours`` are keys and pids of this run that are not the engine's: of other engines,
    and of processes that tests started.
    """

    t_ns: int
    level: int
    steady: bool
    held: int | None
    mapped: bool
    others: frozenset[int]
    strangers: frozenset[int]
    neighbours: frozenset[int] = frozenset()
    present: bool = False

    @property
    def everybody(self) -> frozenset[int]:
        """The pids whose memory is not the engine's, or not known to be."""
        return self.others | self.neighbours


@dataclass(frozen=True)
class Baseline:
    """A device just before an engine started: its level in bytes and the pids on it, None if they are unknown."""

    level: int
    pids: frozenset[int] | None = frozenset()

    def to_plain(self) -> list[Any]:
        """The values as JSON can carry them; :meth:`from_plain` reads them."""
        return [self.level, None if self.pids is None else sorted(self.pids)]

    @staticmethod
    def from_plain(plain: Sequence[Any]) -> Baseline:
        """The baseline that :meth:`to_plain` wrote."""
        level, pids = plain
        return Baseline(level, None if pids is None else frozenset(pids))


def read_listings(records: Sequence[RingRecord], slot: int, keys: Collection[int]) -> list[Listing]:
    """The process lists of one device in order of time; the engine's processes have these ``keys``."""
    found = []
    of_slot = (r for r in records if r.key == slot and r.lane in (PROCESS, ENGINE_SHARE, LISTED))
    for t_ns, group in groupby(of_slot, key=attrgetter("t_ns")):
        parts = list(group)
        end = next((r for r in parts if r.lane == LISTED), None)
        if end is not None:
            found.append(_listing(t_ns, end, parts, keys))
    return found


def _listing(t_ns: int, end: RingRecord, parts: Sequence[RingRecord], keys: Collection[int]) -> Listing:
    engines = [r for r in parts if r.lane == ENGINE_SHARE and r.flags & (MATCHED | MAPPED)]
    shares = [r for r in engines if r.detail in keys]
    stated = bool(shares) and all(r.flags & KNOWN for r in shares)
    unmatched = [r for r in parts if r.lane == PROCESS and not r.flags & (MATCHED | MAPPED)]
    others = [r for r in unmatched if not r.flags & OURS]
    neighbours = [r for r in engines if r.detail not in keys] + [r for r in unmatched if r.flags & OURS]
    return Listing(
        t_ns,
        end.value,
        bool(end.flags & STEADY),
        sum(r.value for r in shares) if stated else None,
        any(r.flags & MAPPED for r in shares),
        frozenset(r.detail for r in others),
        frozenset(r.detail for r in others if r.flags & VISIBLE),
        frozenset(r.detail for r in neighbours),
        bool(shares),
    )


def select_surrounding(found: Sequence[Listing], window: Window) -> list[Listing]:
    """The lists inside a window, the last one before it and the first one after it.

    If the engine is not in the last one before, the last list that has the engine is included as well: an engine that
    has left the device holds nothing there, and what others hold is still known.
    """
    first = max((i for i, one in enumerate(found) if one.t_ns <= window.start_ns), default=0)
    stop = next((i + 1 for i, one in enumerate(found) if one.t_ns >= window.end_ns), len(found))
    there = [one for one in found[:first] if one.held is not None] if found and found[first].held is None else []
    return [*there[-1:], *found[first:stop]]


def find_attribution(found: Sequence[Listing], baseline: Baseline | None, *, unified: bool = False) -> Attribution:
    """The surest way to tell the engine's memory from that of others that these lists and this baseline allow."""
    if unified:
        return "unified" if baseline is not None else "device"
    held = [one for one in found if one.held is not None]
    if held:
        return "nspid" if any(one.mapped for one in held) else "pids"
    if baseline is None:
        return "device"
    # An empty list means that no process is there; without a list that is unknown.
    if baseline.pids is None or not found:
        return "rise"
    return "rise" if baseline.pids.union(*(one.strangers | one.neighbours for one in found)) else "exclusive"


@dataclass(frozen=True)
class Ownership:
    """How the engine's memory on a device is separated from that of others over a window.

    Attributes:
        lists: the process lists that surround the window, see :func:`select_surrounding`.
        baseline: the device before the engine started; None for an engine that this run did not start.
    """

    lists: Sequence[Listing] = ()
    baseline: Baseline | None = None


def build_device_trace(
    records: Sequence[RingRecord],
    window: Window,
    facts: DeviceFacts,
    owned: Ownership,
    sampling: Sampling,
    *,
    settling: bool = False,
) -> MemoryTrace:
    """The engine's memory on one device over a window, in bytes.

    ``records`` are of the memory lane and reach a little beyond the window on both sides. With ``settling``, memory of
    others that changes meanwhile makes no part of the result missing, since the caller waits for it too.
    """
    lists, baseline, missing = owned.lists, owned.baseline, sampling.missing
    levels = [(r.t_ns, r.value) for r in records if r.lane == DEVICE_MEMORY and r.key == facts.slot]
    attribution = find_attribution(lists, baseline, unified=facts.unified)
    samples, before = select_around(_engine_part(levels, lists, attribution, baseline), window)
    gap = find_largest_gap(samples, window)
    if not facts.unified and facts.total_bytes is None:
        missing = missing or facts.no_memory
    if attribution in ("pids", "nspid") and not settling:
        missing = missing or _explain_uncertainty(levels, samples, lists, window)
    return MemoryTrace(
        samples,
        _source(samples, lists, facts, attribution),
        before,
        max_gap_ns=gap,
        fault=sampling.fault or ("" if missing else _why_incomplete(window, samples, sampling)),
        missing=missing,
        attribution=attribution,
    )


def _why_incomplete(window: Window, samples: Sequence[tuple[int, int]], sampling: Sampling) -> str:
    return why_overwritten(window, sampling.oldest_ns) or why_unseen(samples, window, sampling.period_ns)


def _engine_part(
    levels: Sequence[tuple[int, int]], lists: Sequence[Listing], attribution: Attribution, baseline: Baseline | None
) -> list[tuple[int, int]]:
    if attribution == "device":
        return list(levels)
    if attribution not in ("pids", "nspid"):
        assert baseline is not None
        return [(t_ns, max(0, level - baseline.level)) for t_ns, level in levels]
    return [(t_ns, max(0, level - max(_rests_around(lists, t_ns)))) for t_ns, level in levels]


def _explain_uncertainty(
    levels: Sequence[tuple[int, int]], samples: Sequence[tuple[int, int]], lists: Sequence[Listing], window: Window
) -> str:
    """Why the peak is uncertain: others' memory changed between two lists, so the level has no unique split; or ""."""
    inside, _ = select_around(levels, window)
    most = max((level - min(_rests_around(lists, t_ns)) for t_ns, level in inside), default=0)
    least = max((value for _, value in samples), default=0)
    if most - least <= _RESTLESS:
        return ""
    return (
        f"other processes allocated or freed memory during the test, so the engine's peak lies anywhere between "
        f"{format_value(least, BYTES)} and {format_value(most, BYTES)}"
    )


def _rests_around(lists: Sequence[Listing], t_ns: int) -> list[int]:
    """The memory beside the engine's, by the last list before a time and the first one after it."""
    rests = _rests(lists)
    after = bisect_right(rests, t_ns, key=itemgetter(0))
    return [rest for _, rest in rests[max(0, after - 1) : after + 1]]


def _rests(lists: Sequence[Listing]) -> list[tuple[int, int]]:
    """(time, memory beside the engine's) of the lists during which the level was steady, or of all if none was."""
    held = [one for one in lists if one.held is not None]
    trusted = [one for one in held if one.steady] or held
    return [(one.t_ns, max(0, one.level - (one.held or 0))) for one in trusted]


def _source(
    samples: Sequence[tuple[int, int]], lists: Sequence[Listing], facts: DeviceFacts, attribution: Attribution
) -> str:
    what = facts.memory_api or "memory in use"
    if facts.unified:
        what = "the host's memory in use (MemTotal less MemAvailable)"
    text = f"{what}, {_WORDS[attribution]}, {describe_rate(samples)}"
    return text + (_doubt(lists) if attribution in ("pids", "nspid") else "")


def _doubt(lists: Sequence[Listing]) -> str:
    rests = [rest for _, rest in _rests(lists)]
    moved = max(rests) - min(rests)
    text = f"; what is not the engine's changed by {format_value(moved, BYTES)} meanwhile" if moved > _RESTLESS else ""
    steady = any(one.steady for one in lists if one.held is not None)
    return text if steady else f"{text}; the level moved whenever the processes were listed"
