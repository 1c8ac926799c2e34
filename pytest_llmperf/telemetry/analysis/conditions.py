"""The state of a device over a window, from its records: throttling, temperatures, clocks, foreign processes."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from pytest_llmperf.measurement.device_trace import Conditions, DeviceProcess
from pytest_llmperf.telemetry.records.event_reasons import EventReason
from pytest_llmperf.telemetry.records.ring import (
    KNOWN,
    MAPPED,
    MATCHED,
    MEMORY_TEMPERATURE,
    OURS,
    PROCESS,
    REASONS,
    SM_CLOCK,
    TEMPERATURE,
    THROTTLE,
    UTILIZATION,
    VISIBLE,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pytest_llmperf.measurement.window import Window
    from pytest_llmperf.telemetry.records.ring import RingRecord

# A power cap is how a loaded device works; these are not.
_SLOWING = (
    EventReason.HARDWARE_THERMAL,
    EventReason.HARDWARE_POWER_BRAKE,
    EventReason.HARDWARE_SLOWDOWN,
    EventReason.SOFTWARE_THERMAL,
)
SLOWING_SHARE = 0.01
# The list that is taken when a test ends is of the test.
_EDGE_NS = 250_000_000
_OF_THIS_RUN = MATCHED | MAPPED | OURS


class _Held(NamedTuple):
    """How long clocks were held back for a reason; ``passing`` if only one of several samples shows it."""

    seconds: float
    passing: bool = False


def read_conditions(
    records: Sequence[RingRecord], window: Window, *, known_pids: Collection[int], names: Mapping[int, str]
) -> Conditions:
    """The state of one device over a window.

    ``records`` are of this device alone and reach beyond the window on both sides. ``known_pids`` are the processes
    that were on the device when the session began. ``names`` are the known names of processes, by pid.
    """
    ordered = sorted(records, key=lambda record: record.t_ns)
    held = _measure_slowdowns(ordered, window)
    newcomers = _newcomers(ordered, window, known_pids, names)
    return Conditions(
        throttled_seconds={reason.label: one.seconds for reason, one in held.items()},
        temperature_c=_at_the_edges(_select_lane(ordered, TEMPERATURE), window),
        memory_temperature_c=_at_the_edges(_select_lane(ordered, MEMORY_TEMPERATURE), window),
        sm_clock_mhz=_mean(_select_lane(ordered, SM_CLOCK), window, 1),
        utilization=_mean(_select_lane(ordered, UTILIZATION), window, 100),
        newcomers=newcomers,
        slowdown=_slowdown(held, newcomers, window),
        clock_samples=tuple((r.t_ns, r.value) for r in _select_inside(_select_lane(ordered, SM_CLOCK), window)),
        throttled_spans=tuple(_list_spans(_select_inside(_select_lane(ordered, REASONS), window), window)),
    )


def _select_lane(records: Sequence[RingRecord], lane: int) -> list[RingRecord]:
    return [record for record in records if record.lane == lane]


def _edges(records: Sequence[RingRecord], window: Window) -> tuple[RingRecord, RingRecord] | None:
    """The last record up to the start and the first from the end on; the outermost ones where there are none."""
    if not records:
        return None
    before = [record for record in records if record.t_ns <= window.start_ns]
    after = [record for record in records if record.t_ns >= window.end_ns]
    return before[-1] if before else records[0], after[0] if after else records[-1]


def _at_the_edges(records: Sequence[RingRecord], window: Window) -> tuple[float, float] | None:
    edges = _edges(records, window)
    return (float(edges[0].value), float(edges[1].value)) if edges else None


def _mean(records: Sequence[RingRecord], window: Window, unit: int) -> float | None:
    inside = _select_inside(records, window)
    return statistics.fmean(record.value for record in inside) / unit if inside else None


def _select_inside(records: Sequence[RingRecord], window: Window) -> list[RingRecord]:
    return [record for record in records if window.start_ns <= record.t_ns <= window.end_ns]


# ----------------------------------------------------------------------------------------------------- clocks held back


def _measure_slowdowns(records: Sequence[RingRecord], window: Window) -> dict[EventReason, _Held]:
    """Each reason that the device reports: its time by the counter, or else by the share of samples that show it."""
    masks = [record.value for record in _select_inside(_select_lane(records, REASONS), window)]
    counters = _select_lane(records, THROTTLE)
    held: dict[EventReason, _Held] = {}
    for reason in EventReason:
        counted = _read_counter([record for record in counters if record.detail == reason], window)
        if counted is not None:
            held[reason] = _Held(counted)
        elif masks:
            shown = sum(1 for mask in masks if mask & reason)
            held[reason] = _Held(window.seconds * shown / len(masks), passing=shown == 1 < len(masks))
    return held


def _list_spans(samples: Sequence[RingRecord], window: Window) -> Iterator[tuple[int, int, str]]:
    """From when to when, and why, samples in a row show the clocks held back; what one shows holds until the next."""
    for reason in EventReason:
        since: int | None = None
        for sample in samples:
            if sample.value & reason and since is None:
                since = sample.t_ns
            elif not sample.value & reason and since is not None:
                yield since, sample.t_ns, reason.label
                since = None
        if since is not None:
            yield since, window.end_ns, reason.label


def _read_counter(counter: Sequence[RingRecord], window: Window) -> float | None:
    """Seconds by the counter; None if it was not read twice, or was reset."""
    edges = _edges(counter, window)
    if edges is None or edges[0].t_ns == edges[1].t_ns or edges[1].value < edges[0].value:
        return None
    return min(window.seconds, (edges[1].value - edges[0].value) / 1e9)


# -------------------------------------------------------------------------------------------------------------- others


def _newcomers(
    records: Sequence[RingRecord], window: Window, known_pids: Collection[int], names: Mapping[int, str]
) -> tuple[DeviceProcess, ...]:
    """Foreign processes that came after the session began.

    If the driver lists pids of a namespace that is not visible here, an unknown pid may be the engine's. It
    certainly is another's if it is visible here, or if the pids of this run are found in the same lists.
    """
    listed = [r for r in _select_lane(records, PROCESS) if window.start_ns <= r.t_ns <= window.end_ns + _EDGE_NS]
    understood = any(record.flags & _OF_THIS_RUN for record in listed)
    held: dict[int, int | None] = {}
    for record in listed:
        if record.flags & _OF_THIS_RUN or record.detail in known_pids:
            continue
        if understood or record.flags & VISIBLE:
            before = held.setdefault(record.detail, None)
            held[record.detail] = max(before or 0, record.value) if record.flags & KNOWN else before
    return tuple(DeviceProcess(pid, names.get(pid, ""), used) for pid, used in sorted(held.items()))


# -------------------------------------------------------------------------------------------------------- what follows


def _slowdown(held: Mapping[EventReason, _Held], newcomers: Sequence[DeviceProcess], window: Window) -> str:
    causes = [
        f"{reason.label} held the clocks back for {one.seconds:.2g} of {window.seconds:.3g} s"
        for reason in _SLOWING
        if (one := held.get(reason)) and one.seconds >= SLOWING_SHARE * window.seconds and not _is_passing(reason, one)
    ]
    if newcomers:
        causes.append(f"{_format_processes(newcomers)} also computed on the device")
    return f"{' and '.join(causes)}, so times and rates are not the engine's own" if causes else ""


def _is_passing(reason: EventReason, held: _Held) -> bool:
    # A device shows this reason for a moment when it leaves its idle state, too.
    return reason == EventReason.HARDWARE_SLOWDOWN and held.passing


def _format_processes(processes: Sequence[DeviceProcess]) -> str:
    noun = "process" if len(processes) == 1 else "processes"
    return f"{noun} {', '.join(map(str, processes))}"
