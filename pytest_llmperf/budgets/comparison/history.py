"""Compares a value with those of earlier runs.

On the scale of logarithms: a change of 10 % is the same step up or down, and noise is a share of the value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from pytest_llmperf.budgets.compared import Compared
from pytest_llmperf.budgets.comparison.past import is_comparable
from pytest_llmperf.budgets.comparison.session_noise import MEDIAN_VARIANCE, Estimate, SessionNoise, find_center
from pytest_llmperf.budgets.interval import Interval
from pytest_llmperf.measurement.reading import Missing
from pytest_llmperf.measurement.units import format_apart, format_change, format_value
from pytest_llmperf.metrics.metric import SampleSource

if TYPE_CHECKING:
    from pytest_llmperf.budgets.comparison.past import Past
    from pytest_llmperf.budgets.interval import Confidence
    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.reading import Reading
    from pytest_llmperf.metrics.metric import Metric

LEAST_RUNS = 5
# One run that measured nothing must not hide a change; where more than this share did, nothing is the usual value.
MOST_ZEROS = 1 / 8
"""From so many runs on their noise is known; with fewer, t bounds would be wider than any change worth finding."""

MOST_RUNS = 20
"""How many of the last runs a value is compared with."""

SIDES = 2
"""Each limit is compared with the last runs and with the anchor."""

_NEAR_EXACT = (
    SampleSource.MEMORY_SAMPLES,
    SampleSource.HOST_SAMPLES,
    SampleSource.SETTLED_LEVEL,
    SampleSource.ENGINE,
    SampleSource.PAGES,
    SampleSource.NEXT_TOKENS,
)


class FindPast(Protocol):
    """Finds what earlier runs have measured of a metric of one test."""

    def __call__(self, limit: Limit, measurement: Measurement, engine: str) -> Past:
        """``measurement`` is that of the whole test, ``engine`` the label of the one that is limited of several."""


@dataclass(frozen=True)
class CompareWithPast:
    """Compares with the runs of a store: the judge of relative limits."""

    find_past: FindPast

    @property
    def sides(self) -> int:
        """Each limit is compared with the last runs and with the anchor."""
        return SIDES

    def __call__(
        self,
        limit: Limit,
        reading: Reading,
        interval: Interval | None,
        measurement: Measurement,
        engine: str,
        confidence: Confidence,
    ) -> Compared | Missing:
        past = self.find_past(limit, measurement, engine).keep_comparable()
        if reading.value is None or past.why_none:
            return Missing(past.why_none or reading.reason)
        if not is_comparable(reading.value):
            return Missing(f"a value of {reading.value:g} {limit.quantity.base} cannot be compared")
        return compare_with_past(limit, reading.value, interval, past, confidence, samples=reading.samples)


def is_near_exact(metric: Metric) -> bool:
    """Whether its values hardly differ between runs of one build, so that few of them tell enough: memory."""
    return metric.source in _NEAR_EXACT


def compare_with_past(
    limit: Limit,
    value: float,
    interval: Interval | None,
    past: Past,
    confidence: Confidence,
    *,
    samples: int | None = None,
) -> Compared:
    """A value beside the median of the last runs, or beside the anchor, if it is that one which it breaks.

    Args:
        limit: a relative one.
        value: in the base unit of the metric, measured in this session.
        interval: where its truth lies by the evidence of this session, with the error of one of these comparisons
            (:meth:`Confidence.share_error`); None if it is exact.
        past: with at least one value, all of them comparable (:meth:`Past.keep_comparable`).
        confidence: with the error that is shared among all comparisons; its ``session_noise`` is used as long as the
            store has too few runs to tell.
        samples: how many observations the value is computed from.
    """
    measured = [one.value for one in past.values]
    values = [one for one in measured if one > 0]
    if len(measured) - len(values) > MOST_ZEROS * len(measured):
        return _compare_with_zero(limit, value, find_center(measured), past)
    center = find_center(values)
    found = _Comparison(limit, max(value, center * 1e-9), interval, past, confidence.share_error(SIDES), samples)
    noise = _find_noise(limit, values, confidence)
    runs = "1 run" if len(values) == 1 else f"the median of {len(values)} runs"
    rolling = found.against(center, noise, MEDIAN_VARIANCE / len(values), f"{runs} of {past.baseline}")
    anchor = past.anchor
    if anchor is None or anchor.value <= 0 or len(values) < 2 or found.is_broken(rolling):
        return rolling
    fixed = found.against(anchor.value, noise, 1.0, f"the anchor of {past.baseline} ({anchor.name})")
    return found.explain_drift(fixed, rolling) if found.is_broken(fixed) else rolling


def _find_noise(limit: Limit, values: list[float], confidence: Confidence) -> SessionNoise | None:
    """None if neither the store nor the user tells it."""
    if len(values) >= LEAST_RUNS:
        return SessionNoise.of_runs(values)
    if is_near_exact(limit.definition):
        return SessionNoise.of_known(math.log(max(values) / min(values)))
    if confidence.session_noise is not None:
        return SessionNoise.of_known(confidence.session_noise, is_stated=True)
    return None


def _compare_with_zero(limit: Limit, value: float, center: float, past: Past) -> Compared:
    """Of nothing no share can be taken: the value passes if it is no worse, and cannot fail."""
    quantity = limit.quantity
    no_worse = value <= center if limit.definition.better == "lower" else value >= center
    if no_worse and (limit.value >= 0) == (limit.definition.better == "lower"):
        return Compared(center, center, None, how=f"no worse than the median of {past.baseline}")
    zero = format_value(0.0, quantity)
    reason = f"runs of {past.baseline} have {zero} or less, of which no share can be taken: write a limit with a unit"
    return Compared(center, center, Interval(None, None), reason=reason)


@dataclass(frozen=True)
class _Comparison:
    """One value and what is known of its noise within the session."""

    limit: Limit
    value: float
    interval: Interval | None
    past: Past
    confidence: Confidence
    samples: int | None

    def against(self, baseline: float, noise: SessionNoise | None, weight: float, name: str) -> Compared:
        """Beside one baseline, whose own variance is ``weight`` times that between sessions."""
        allowed = baseline * (1 + self.limit.value)
        how = f"against {format_value(baseline, self.limit.quantity)}, {name}"
        if noise is None:
            missing = LEAST_RUNS - len(self.past.values)
            return Compared(baseline, allowed, self._bounds(None, None), how, self._why_few(missing))
        reaches = [self._reach(noise, weight, side) for side in (0, 1)]
        interval = self._bounds(*reaches)
        found = Compared(baseline, allowed, interval, f"{how}{self._describe(noise, reaches)}")
        return self._explain(found, noise, weight, reaches)

    def _bounds(self, below: float | None, above: float | None) -> Interval | None:
        """The value with what it reaches on the scale of logarithms on each side; None: not bounded there."""
        if below == above == 0.0:
            return None
        runs = len(self.past.values)
        low = None if below is None else self.value * math.exp(-below)
        high = None if above is None else self.value * math.exp(above)
        return Interval(low, high, runs, float(runs), "run")

    def _within(self, side: int) -> float | None:
        """How far the truth may lie from the value on one side by the evidence of this session; None: not bounded."""
        if self.interval is None:
            return 0.0
        bound = (self.interval.low, self.interval.high)[side]
        if bound is None or (bound <= 0 and not side):
            return None
        if bound <= 0:  # as of the gaps between tokens that came in one chunk
            return 0.0
        return max(0.0, math.log(bound / self.value) * (1 if side else -1))

    def _reach(self, noise: SessionNoise, weight: float, side: int) -> float | None:
        """How far the truth may lie from the value on one side, with the error of the baseline."""
        within = self._within(side)
        if within is None:
            return None
        between = self._reach_between(noise, weight, side)
        if noise.is_stated:  # of sessions alone, without the noise within this one and within the runs
            return math.hypot(between, within * math.sqrt(1 + weight))
        return max(within, math.hypot(between, within * self._excess))

    def _reach_between(self, noise: SessionNoise, weight: float, side: int) -> float:
        return noise.reach(self._error(side)) * math.sqrt(1 + weight)

    def _error(self, side: int) -> float:
        return self.confidence.find_errors(self.limit.definition.better)[side]

    @property
    def _excess(self) -> float:
        """By how much this session is noisier within than the runs were, whose spread holds their own noise."""
        counts = [one.samples for one in self.past.values if one.samples]
        if not self.samples or not counts:
            return 0.0
        return math.sqrt(max(0.0, 1 - self.samples / find_center(counts)))

    @property
    def _fail_side(self) -> int:
        """Which bound decides a FAIL: the lower one (0) where lower is better."""
        return 0 if self.limit.definition.better == "lower" else 1

    def _excess_over(self, allowed: float) -> float:
        """How far the value lies beyond what is allowed, on the scale of logarithms; negative inside."""
        beyond = math.log(self.value / allowed)
        return beyond if self._fail_side == 0 else -beyond

    def is_broken(self, compared: Compared) -> bool:
        """Whether the whole interval lies beyond the limit."""
        reach = self._reach_to(compared, self._fail_side)
        return reach is not None and self._excess_over(compared.allowed) > reach

    def _reach_to(self, compared: Compared, side: int) -> float | None:
        if compared.interval is None:
            return 0.0
        bound = (compared.interval.low, compared.interval.high)[side]
        return None if bound is None else abs(math.log(bound / self.value))

    def _describe(self, noise: SessionNoise, reaches: list[float | None]) -> str:
        """How much sessions differ, and from which change on a FAIL is possible: a noisy host sees large ones only."""
        reach = reaches[self._fail_side]
        deviation = noise.find_tightest(self._error(self._fail_side)).deviation
        if not deviation or reach is None:
            return ""
        factor = math.exp(reach if self._fail_side == 0 else -reach)
        seen = (1 + self.limit.value) * factor - 1
        source = "as stated" if noise.is_stated else "in the store"
        return f"; sessions differ by {100 * deviation:.2g} % {source}: FAIL beyond {format_change(seen)}"

    def _explain(self, found: Compared, noise: SessionNoise, weight: float, reaches: list[float | None]) -> Compared:
        beyond = self._excess_over(found.allowed)
        side = self._fail_side if beyond > 0 else 1 - self._fail_side
        found = replace(found, p_value=self._find_p(beyond, reaches[self._fail_side], noise, weight))
        reach, within = reaches[side], self._within(side)
        if reach is None or within is None:
            return replace(found, is_within=True)
        if abs(beyond) > reach:
            return found
        # What no further unit of this session can take away is the noise between sessions.
        if within > 0 and abs(beyond) > self._reach_between(noise, weight, side):
            return replace(found, is_within=True)
        return replace(found, reason=self._why_hidden(noise, abs(beyond), side))

    def _find_p(self, beyond: float, reach: float | None, noise: SessionNoise, weight: float) -> float | None:
        """The error at which the interval would just reach the limit, if it had the same shape at every error."""
        if reach is None:
            return None
        between = self._reach_between(noise, weight, self._fail_side)
        if reach and not between:  # the noise within the session is all there is
            noise = SessionNoise.of_known(1.0)
        return noise.find_p(beyond * noise.reach(self._error(self._fail_side)) / reach if reach else beyond)

    def _why_few(self, missing: int) -> str:
        runs = len(self.past.values)
        saved = f"{runs} run{'' if runs == 1 else 's'} of {self.past.baseline}"
        return (
            f"{saved} cannot tell how sessions differ: {missing} more would do (--llmperf-save), or state it with "
            "--llmperf-session-noise"
        )

    def _why_hidden(self, noise: SessionNoise, beyond: float, side: int) -> str:
        error, runs = self._error(side), len(self.past.values)
        found = noise.find_tightest(error)
        close = f"too close to {self.limit.text} to tell: sessions differ by {100 * found.deviation:.2g} %"
        if noise.is_stated:
            return f"{close} as stated; compare two builds in one session instead"
        for count in range(runs + 1, MOST_RUNS + 1):
            further = Estimate(found.deviation, found.freedom + count - runs, found.share)
            if beyond > further.reach(error) * math.sqrt(1 + MEDIAN_VARIANCE / count):
                more = count - runs
                return f"{close} over {runs} runs; about {more} more run{'' if more == 1 else 's'} would do"
        return f"{close} over {runs} runs, and more would hardly help; compare two builds in one session instead"

    def explain_drift(self, fixed: Compared, rolling: Compared) -> Compared:
        """The comparison with the anchor, which breaks the limit although that with the last runs does not."""
        shown = format_apart(rolling.baseline, fixed.baseline, self.limit.quantity)
        change = format_change(self.value / rolling.baseline - 1)
        reason = (
            f"drift: {change} against the last {len(self.past.values)} runs ({shown}), which have moved away from the "
            "anchor; if that is meant, mark a newer run: pytest-llmperf store anchor RUN"
        )
        return replace(fixed, reason=reason)
