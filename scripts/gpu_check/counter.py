"""The energy counter: how often it moves, and whether it agrees with the instant power."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

from pytest_llmperf.telemetry.records.ring import POWER
from pytest_llmperf.telemetry.records.source import SourceError, Why

if TYPE_CHECKING:
    from scripts.gpu_check.figures import Figures
    from scripts.gpu_check.gpu import Gpu
    from scripts.gpu_check.program import Program

_POLL_S = 0.001
_TICK_SECONDS = 3.0
_POWER_PAUSE_S = 0.05
_RISE_S = 0.5


class Comparison(NamedTuple):
    """One span of time: joules by the counter, and the mean of the instant power in watts."""

    seconds: float
    joules: float
    watts: float

    @property
    def ratio(self) -> float:
        """The counter's joules over those of the power."""
        return self.joules / (self.watts * self.seconds)


def _value(gpu: Gpu, before: int | None = None) -> int | None:
    """Where the counter stands; where it was before when the driver does not say so this once."""
    try:
        return gpu.energy.read(0)[0].value
    except SourceError as error:
        if error.why is not Why.TRANSIENT:
            raise
        return before


def changes(gpu: Gpu, seconds: float) -> list[int]:
    """When the counter was seen to have moved, polled about once a millisecond."""
    found: list[int] = []
    value = _value(gpu)
    end = time.monotonic_ns() + seconds * 1e9
    while (now := time.monotonic_ns()) < end:
        before, value = value, _value(gpu, value)
        if before is not None and value != before:
            found.append(now)
        time.sleep(_POLL_S)
    return found


def compare(gpu: Gpu, seconds: float) -> Comparison | None:
    """The counter against instant power, from its first tick to its last; None when it did not move twice."""
    ticks: list[tuple[int, int]] = []
    watts: list[tuple[int, float]] = []
    value = _value(gpu)
    end = time.monotonic_ns() + seconds * 1e9
    while (now := time.monotonic_ns()) < end:
        before, value = value, _value(gpu, value)
        if value is not None and before is not None and value != before:
            ticks.append((now, value))
        if not watts or now - watts[-1][0] >= _POWER_PAUSE_S * 1e9:
            watts += [(now, record.value / 1e3) for record in gpu.sensors.read(now) if record.lane == POWER]
        time.sleep(_POLL_S)
    inside = [w for t, w in watts if ticks and ticks[0][0] <= t <= ticks[-1][0]]
    if len(ticks) < 2 or not inside:
        return None
    (start_ns, first), (end_ns, last) = ticks[0], ticks[-1]
    return Comparison((end_ns - start_ns) / 1e9, (last - first) / 1e3, statistics.fmean(inside))


def report(gpu: Gpu, program: Program | None, figures: Figures, seconds: float) -> None:
    try:
        found = changes(gpu, min(_TICK_SECONDS, seconds))
    except SourceError as error:
        figures.add("energy counter", str(error))
        return
    if len(found) < 3:
        figures.wrong("the energy counter was not seen to move")
        return
    distances = [(b - a) / 1e6 for a, b in itertools.pairwise(found)]
    spread = f"{min(distances):.0f} to {max(distances):.0f} ms"
    figures.add("energy counter moves every", f"{statistics.median(distances):.1f} ms (median; {spread})")
    _compare(gpu, figures, "idle", seconds)
    if program is not None:
        program.begin_busy(seconds + _RISE_S)
        time.sleep(_RISE_S)  # until the power has risen
        _compare(gpu, figures, "copying", seconds)
        program.end_busy(seconds)


def _compare(gpu: Gpu, figures: Figures, what: str, seconds: float) -> None:
    found = compare(gpu, seconds)
    if found is None:
        figures.wrong(f"{what}: the energy counter and instant power could not be compared")
        return
    figures.add(
        f"energy over {found.seconds:.1f} s, {what}",
        f"{found.joules:.0f} J by the counter, {found.watts:.0f} W by instant power: ratio {found.ratio:.2f}",
    )
