"""Energy of a device over a window, from its counter.

The counter moves in steps (ticks), every 20 to 100 ms, so its difference over a window is off by up to one step at each
edge. Between two ticks it is exact. The energy is therefore the difference between the ticks nearest to the edges,
corrected by (mean instant power between tick and edge) x (time between tick and edge).
"""

from __future__ import annotations

import itertools
import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pytest_llmperf.measurement.device_trace import Energy
from pytest_llmperf.measurement.units import JOULES, WATTS, format_value
from pytest_llmperf.telemetry.records.ring import ENERGY, POWER, TICK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.window import Window
    from pytest_llmperf.telemetry.records.ring import RingRecord

# The sensor averages a part of each period only, 25 of 100 ms on some devices; over 2 s that evens out.
MIN_SECONDS = 2.0
TICK_REACH_NS = 250_000_000
# With fewer, too much is left to the correction: of ticks that lie further away, and of readings without ticks.
TICKS_IN_WINDOW = 10
READINGS_IN_WINDOW = 50
MAX_DISAGREEMENT = 0.25
MIN_POWER_SAMPLES = 10
_NEAREST_POWER_NS = 250_000_000


class _Span(NamedTuple):
    """Two readings of the counter around a window, and what they are."""

    first: RingRecord
    last: RingRecord
    what: str

    @property
    def joules(self) -> float:
        return (self.last.value - self.first.value) / 1000


class _NotMeasuredError(Exception):
    """The energy is not measured; the message is the reason."""


def measure_energy(
    records: Sequence[RingRecord], window: Window, *, idle_watts: float | None, shared: str = ""
) -> Energy:
    """The energy of one device over a window.

    ``records`` are of this device alone and reach beyond the window on both sides: ENERGY readings (mJ; with TICK where
    the counter was seen to move) and POWER readings (mW). ``idle_watts`` is its power while nothing ran. ``shared`` is
    why these readings are not the engine's (a sensor of the whole GPU, for one MIG instance of it), or "".
    """
    counter = sorted(record for record in records if record.lane == ENERGY)
    power = sorted(record for record in records if record.lane == POWER)
    inside = [record.value / 1000 for record in power if window.start_ns <= record.t_ns <= window.end_ns]
    known = Energy(
        idle_watts=idle_watts,
        instant_watts=statistics.fmean(inside) if inside else None,
        tick_seconds=_tick_seconds(counter),
    )
    try:
        span = _span(counter, window, shared)
        joules = span.joules - _measure_outside(span, power, window, idle_watts)
        if joules <= 0:
            raise _NotMeasuredError("the energy counter moved by less than the idle power outside the window explains")
    except _NotMeasuredError as problem:
        return replace(known, reason=str(problem))
    return replace(
        known,
        joules=joules,
        above_idle_joules=None if idle_watts is None else joules - idle_watts * window.seconds,
        how=_how(span, window, known.tick_seconds),
        fault=_disagreement(joules, window, inside),
    )


# ------------------------------------------------------------------------------------------------ which two readings


def _span(counter: Sequence[RingRecord], window: Window, shared: str) -> _Span:
    if shared:
        raise _NotMeasuredError(shared)
    if window.seconds < MIN_SECONDS:
        raise _NotMeasuredError(
            f"a window of {window.seconds:.2g} s is too short for the energy sensor, which observes only part of "
            f"the time: at least {MIN_SECONDS:g} s are needed; more rounds make the window longer"
        )
    if not counter:
        raise _NotMeasuredError("no energy counter was read")
    span = _from_tick_to_tick(counter, window) or _from_change_to_change(counter, window)
    between = [record.value for record in counter if span.first.t_ns <= record.t_ns <= span.last.t_ns]
    if any(after < before for before, after in itertools.pairwise(between)):
        raise _NotMeasuredError("the energy counter went backwards: the driver was reloaded during the test")
    if span.joules == 0:
        raise _NotMeasuredError("the energy counter did not move")
    return span


def _from_tick_to_tick(counter: Sequence[RingRecord], window: Window) -> _Span | None:
    ticks = [record for record in counter if record.flags & TICK]
    return _find_span(ticks, window, TICK_REACH_NS, "energy counter from tick to tick")


def _from_change_to_change(counter: Sequence[RingRecord], window: Window) -> _Span:
    """Readings at which the counter had moved, instead of the moments at which it moved: wrong by a reading's distance.

    Readings of an exporter repeat what it collected last, so only those that differ count.
    """
    changes = [after for before, after in itertools.pairwise(counter) if after.value != before.value]
    if len(changes) < 2:
        raise _NotMeasuredError("the energy counter was not seen to move")
    spacing = round(statistics.median(b.t_ns - a.t_ns for a, b in itertools.pairwise(changes)))
    length = window.end_ns - window.start_ns
    if length >= READINGS_IN_WINDOW * spacing:
        bound = f"±{100 * spacing / length:.1g} %"
        what = f"energy counter read every {spacing / 1e9:.2g} s, not aligned to its ticks: {bound}"
        span = _find_span(changes, window, 2 * spacing, what)
    elif length >= TICKS_IN_WINDOW * spacing:
        ticks = [record for record in changes if record.flags & TICK]
        span = _find_span(ticks, window, length // TICKS_IN_WINDOW, "energy counter from tick to tick")
    else:
        span = None
    if span is None:
        raise _NotMeasuredError(
            "not aligned: no tick of the energy counter was seen at the edges of the window, "
            f"and without them it takes {READINGS_IN_WINDOW * spacing / 1e9:.2g} s, read without a gap"
        )
    return span


def _find_span(readings: Sequence[RingRecord], window: Window, reach_ns: int, what: str) -> _Span | None:
    """The last reading up to the start and the first from the end on, within reach; else the nearest ones inside."""
    start = [r for r in readings if abs(r.t_ns - window.start_ns) <= reach_ns]
    end = [r for r in readings if abs(r.t_ns - window.end_ns) <= reach_ns]
    if not start or not end:
        return None
    before = [r for r in start if r.t_ns <= window.start_ns]
    after = [r for r in end if r.t_ns >= window.end_ns]
    return _Span(before[-1] if before else start[0], after[0] if after else end[-1], what)


# ------------------------------------------------------------------------------------------ what lies beside the window


def _measure_outside(span: _Span, power: Sequence[RingRecord], window: Window, idle_watts: float | None) -> float:
    """Joules between the two readings that lie outside the window; negative if they lie inside it."""
    before = [record for record in power if record.t_ns <= window.start_ns]
    inside = [record for record in power if window.start_ns < record.t_ns < window.end_ns]
    after = [record for record in power if record.t_ns >= window.end_ns]
    joules = 0.0
    for begin, end, beside in ((span.first.t_ns, window.start_ns, before), (window.end_ns, span.last.t_ns, after)):
        if begin <= end:
            joules += _joules(beside, begin, end, idle_watts)
        else:
            # Inside of the window the device is at work, not idle.
            joules -= _joules(inside, end, begin, None)
    return joules


def _joules(power: Sequence[RingRecord], start_ns: int, end_ns: int, idle_watts: float | None) -> float:
    """Joules of a short time by its instant power, else by the nearest reading, else by the idle power."""
    if start_ns == end_ns:
        return 0.0
    inside = [record.value / 1000 for record in power if start_ns < record.t_ns < end_ns]
    watts = statistics.fmean(inside) if inside else _nearest_watts(power, start_ns, end_ns)
    if watts is None:
        watts = idle_watts
    if watts is None:
        raise _NotMeasuredError(
            "the energy counter's ticks lie outside the window, and the power at that time is unknown"
        )
    return watts * (end_ns - start_ns) / 1e9


def _nearest_watts(power: Sequence[RingRecord], start_ns: int, end_ns: int) -> float | None:
    def distance(record: RingRecord) -> int:
        return max(start_ns - record.t_ns, record.t_ns - end_ns)

    nearest = min(power, key=distance, default=None)
    return None if nearest is None or distance(nearest) > _NEAREST_POWER_NS else nearest.value / 1000


# ----------------------------------------------------------------------------------------------------- how sure it is


def _tick_seconds(counter: Sequence[RingRecord]) -> float | None:
    """The median distance of ticks in s; ticks between which the counter showed a third value are left out."""
    distances: list[int] = []
    last: RingRecord | None = None
    for record in counter:
        if record.flags & TICK:
            distances += [record.t_ns - last.t_ns] if last else []
            last = record
        elif last and record.value != last.value:
            last = None
    return statistics.median(distances) / 1e9 if distances else None


def _how(span: _Span, window: Window, tick_seconds: float | None) -> str:
    tick = f", a tick every {tick_seconds:.2g} s" if tick_seconds else ""
    beside = (abs(window.start_ns - span.first.t_ns) + abs(span.last.t_ns - window.end_ns)) / 1e9
    return f"{span.what}{tick}, corrected for {beside:.2f} s beside the window; ±5 % by the sensor"


def _disagreement(joules: float, window: Window, watts: Sequence[float]) -> str:
    if len(watts) < MIN_POWER_SAMPLES:
        return ""
    mean = statistics.fmean(watts)
    second = mean * window.seconds
    if abs(second - joules) <= MAX_DISAGREEMENT * joules:
        return ""
    return (
        f"the energy counter says {format_value(joules, JOULES)}, but an instant power of {format_value(mean, WATTS)} "
        f"on average over {window.seconds:.3g} s is {format_value(second, JOULES)}: one of the two sensors is wrong"
    )
