"""How far the truth may be from a measured value, from the evidence of the value."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING, Literal

from pytest_llmperf.budgets.confidence.distributions import t_quantile
from pytest_llmperf.budgets.confidence.percentiles import bound_by_spread, bound_share, count_for_verdict, find_ranks
from pytest_llmperf.budgets.confidence.rates import combine_noise, count_freedom, estimate_noise
from pytest_llmperf.budgets.confidence.samples import count_effective_in_groups, count_effective_in_time
from pytest_llmperf.metrics.evidence import (
    BinnedValues,
    Bounds,
    RateNoise,
    RateUnits,
    RequestValues,
    SensorAccuracy,
    ShareCount,
    ShareUnits,
)

if TYPE_CHECKING:
    from pytest_llmperf.metrics.evidence import Evidence
    from pytest_llmperf.metrics.statistics import Statistic

Better = Literal["lower", "higher"]
ERROR_AT_EACH_LOOK = 0.002
PASS_ERROR_WITH_KNOWN_SESSIONS = 0.05


@dataclass(frozen=True)
class Confidence:
    """How sure a verdict must be.

    Attributes:
        error: the largest probability that a FAIL is wrong.
        session_noise: the standard deviation between sessions on this machine, as a share; None if it is unknown.
        error_at_look: the same as ``error`` at each of many looks, of a PASS too; None for a test judged once.
        comparisons: how many limits of the session are compared with a baseline, and share the error of these.
    """

    error: float = 0.01
    session_noise: float | None = None
    error_at_look: float | None = None
    comparisons: int = 1

    def share_error(self, sides: int = 1) -> Confidence:
        """For one comparison with a baseline among all of the session, each with so many ``sides``.

        The noise between sessions is left to the comparison, which knows it.
        """
        return replace(self, error=self.error / (sides * max(1, self.comparisons)), session_noise=0.0)

    def at_each_look(self) -> Confidence:
        """For a test that is judged after each round: an error at each look that keeps about 1 % over 30 of them."""
        return replace(self, error_at_look=ERROR_AT_EACH_LOOK)

    @property
    def pass_error(self) -> float:
        """The largest probability that a build exactly at its limit passes.

        As long as the noise between sessions is unknown, and so left out of the interval, a PASS must be as sure of the
        rest as a FAIL.
        """
        return self.error if self.session_noise is None else PASS_ERROR_WITH_KNOWN_SESSIONS

    def find_errors(self, better: Better) -> tuple[float, float]:
        """The errors of the lower and of the upper bound: one of them decides the FAIL, the other the PASS."""
        return (self.error, self.pass_error) if better == "lower" else (self.pass_error, self.error)


@dataclass(frozen=True)
class Interval:
    """Where the truth lies: below ``low`` or above ``high`` with the error of a :class:`Confidence` each.

    Attributes:
        low, high: in the base unit of the metric; None where the evidence does not bound that side.
        units: the number of units of evidence.
        effective: the number of independent units that they are worth.
        unit: what a unit is: ``request``, ``round``, ``slice``; empty for a sensor.
    """

    low: float | None
    high: float | None
    units: int = 0
    effective: float = 0.0
    unit: str = ""

    @property
    def evidence_text(self) -> str:
        """``8 rounds, worth 3 independent``: the units, and what they are worth if that is less; empty for a sensor."""
        if not self.units:
            return ""
        worth = round(self.effective)
        counted = f"{self.units} {self.unit}{'' if self.units == 1 else 's'}"
        return f"{counted}, worth {worth} independent" if worth < self.units else counted

    def stretch_to(self, value: float | None) -> Interval:
        """The same interval, stretched to a value that lies outside of it."""
        if value is None:
            return self
        low = None if self.low is None else min(self.low, value)
        high = None if self.high is None else max(self.high, value)
        return replace(self, low=low, high=high)


def find_interval(
    evidence: Evidence, statistic: Statistic | None, value: float, better: Better, confidence: Confidence
) -> Interval | None:
    """The interval of a value with this evidence; None where the value has to be taken as it is."""
    match evidence:
        case Bounds():
            return Interval(evidence.low, evidence.high, unit="page")
        case SensorAccuracy():
            return Interval(value * (1 - evidence.share), value * (1 + evidence.share))
        case RequestValues() | BinnedValues():
            return _bound_percentile(evidence, statistic, value, better, confidence)
        case RateUnits() | RateNoise():
            return _bound_rate(evidence, value, better, confidence)
        case ShareUnits() | ShareCount():
            return _bound_share(keep_share(evidence), value, better, confidence)


def keep_share(evidence: ShareUnits | ShareCount) -> ShareCount:
    """What a report keeps of the evidence of a share: enough for its interval, with the share."""
    if isinstance(evidence, ShareCount):
        return evidence
    values = math.fsum(evidence.sizes)
    effective = values if evidence.are_independent else count_effective_in_groups(evidence.hits, evidence.sizes)
    return ShareCount(evidence.units, effective, evidence.unit)


def _bound_share(
    evidence: ShareCount, value: float, better: Better, confidence: Confidence, times: float = 1.0
) -> Interval | None:
    """The interval of a share; with ``times`` that of so many times as much evidence of the same kind."""
    worth = evidence.effective * times
    if worth <= 0:
        return None
    errors = [confidence.error_at_look or error for error in confidence.find_errors(better)]
    low, high = (bound_share(value * worth, worth, error)[side] for side, error in enumerate(errors))
    return Interval(min(low, value), max(high, value), evidence.units, min(worth, float(evidence.units)), evidence.unit)


def _bound_percentile(
    evidence: RequestValues | BinnedValues,
    statistic: Statistic | None,
    value: float,
    better: Better,
    confidence: Confidence,
) -> Interval | None:
    if statistic is None or statistic.percentile is None:
        return None  # the largest value is what the test saw, and stands for nothing else
    units = evidence.requests
    if units < 2:
        return Interval(None, None, units, float(units), "request")
    effective, share = count_effective(evidence, value), statistic.percentile / 100
    bounds = []
    for side, error in enumerate(confidence.find_errors(better)):
        sampling = confidence.error_at_look or error
        rank = find_ranks(evidence.count, share, effective, sampling)[side]
        if rank is None:
            bound = bound_by_spread(evidence.each_value(), share, effective, sampling)[side]
        else:
            bound = evidence.bound_at(rank, side)
        bound = max(value, bound) if side else min(value, bound)
        bounds.append(_widen(value, bound, _session_width(confidence, error), 1 if side else -1))
    return Interval(bounds[0], bounds[1], units, min(effective, float(units)), "request")


def count_effective(evidence: RequestValues | BinnedValues, value: float) -> float:
    """The number of independent values that those of all requests are worth, to tell the share above ``value``."""
    if isinstance(evidence, BinnedValues):
        return min(evidence.effective, float(evidence.count))
    if evidence.is_per_request:
        alone = [found[0] for found in evidence.values]
        # The slow ones may come in bursts while the others differ at random.
        slow = [float(one >= value) for one in alone]
        return min(count_effective_in_time(found, evidence.strata) for found in (alone, slow))
    sizes, hits, means = [], [], []
    for found in evidence.values:
        sizes.append(float(len(found)))
        hits.append(float(sum(1 for one in found if one > value)))
        means.append(fmean(found))
    alike_in_time = count_effective_in_time(means, evidence.strata) / len(sizes)
    return max(1.0, count_effective_in_groups(hits, sizes) * alike_in_time)


def _bound_rate(
    evidence: RateUnits | RateNoise, value: float, better: Better, confidence: Confidence, times: float = 1.0
) -> Interval | None:
    """The interval of a rate; with ``times`` that of so many times as much evidence of the same kind."""
    if isinstance(evidence, RateNoise):
        return _bound_by_noise(evidence, value, better, confidence, times) if value > 0 else None
    if not math.fsum(evidence.counts) or not math.fsum(evidence.spans) or (value <= 0 and evidence.hits is None):
        return None
    noise = estimate_rate_noise(evidence)
    if evidence.hits is None:
        return _bound_by_noise(noise, value, better, confidence, times)
    worth = times * count_effective_in_time(evidence.hits) / len(evidence.hits)
    hits, trials = sum(evidence.hits) * worth, len(evidence.hits) * worth
    errors = [confidence.error_at_look or error for error in confidence.find_errors(better)]
    least, most = (bound_share(hits, trials, error)[side] for side, error in enumerate(errors))
    rate = value * trials / hits if hits else math.fsum(evidence.counts) / math.fsum(evidence.spans)
    around = _bound_by_noise(noise, rate, better, confidence, times)
    return replace(around, low=least * (around.low or 0.0), high=most * (around.high or 0.0))


def estimate_rate_noise(evidence: RateUnits) -> RateNoise:
    """What a report keeps of the evidence of a rate: enough for its interval, if it counts all requests."""
    noise, effective = estimate_noise(evidence.counts, evidence.spans, evidence.strata)
    return RateNoise(noise, len(evidence.counts), effective, evidence.unit)


def _bound_by_noise(evidence: RateNoise, rate: float, better: Better, confidence: Confidence, times: float) -> Interval:
    noise, freedom = evidence.noise / math.sqrt(times), count_freedom(evidence.effective * times)
    low, high = (_reach(noise, freedom, error, confidence) for error in confidence.find_errors(better))
    return Interval(rate * math.exp(-low), rate * math.exp(high), evidence.units, evidence.effective, evidence.unit)


def _reach(noise: float, freedom: float, error: float, confidence: Confidence) -> float:
    """How far the truth of all sessions may lie from a rate on one side, on the scale of logarithms.

    A session is drawn once however often a test is judged, so that only the noise within it pays for many looks.
    """
    if confidence.error_at_look is not None:
        noise *= t_quantile(1 - confidence.error_at_look, freedom) / t_quantile(1 - error, freedom)
    noise, freedom = combine_noise(noise, freedom, confidence.session_noise or 0.0)
    return noise * t_quantile(1 - error, freedom)


def _session_width(confidence: Confidence, error: float) -> float:
    """How far a session may lie from the others on this machine, on the scale of logarithms."""
    return NormalDist().inv_cdf(1 - error) * (confidence.session_noise or 0.0)


def _widen(value: float, bound: float, width: float, sign: int) -> float:
    """The lower (``sign`` -1) or upper (1) bound of a value, moved further away from it by a noise beside its own."""
    if value <= 0 or bound <= 0 or not width:
        return bound
    return value * math.exp(sign * math.hypot(math.log(bound / value), width))


def is_hidden_by_sessions(value: float, limit: float, better: Better, confidence: Confidence) -> bool:
    """Whether the known noise between sessions alone is more than what lies between a value and its limit."""
    if value <= 0 or limit <= 0 or not confidence.session_noise:
        return False
    error = confidence.find_errors(better)[limit > value]
    return abs(math.log(limit / value)) <= _session_width(confidence, error)


def count_missing(
    evidence: Evidence, statistic: Statistic | None, value: float, limit: float, better: Better, confidence: Confidence
) -> int | None:
    """About how many more units of such evidence would tell the value from its limit; None if no number would."""
    if is_hidden_by_sessions(value, limit, better, confidence):
        return None
    match evidence:
        case RequestValues() | BinnedValues() if statistic is not None and statistic.percentile is not None:
            return _count_missing_requests(evidence, statistic.percentile / 100, limit, confidence)
        case RateUnits() | RateNoise():
            return _count_missing_units(evidence, value, limit, better, confidence)
        case ShareUnits() | ShareCount():
            return _count_missing_values(keep_share(evidence), value, limit, better, confidence)
        case _:
            return None


def _count_missing_values(
    evidence: ShareCount, value: float, limit: float, better: Better, confidence: Confidence
) -> int | None:
    """Found by trying, as for rates."""
    for times in (1.25**power for power in range(1, 32)):
        interval = _bound_share(evidence, value, better, confidence, times)
        if interval is not None and not (interval.low or 0.0) < limit <= (interval.high or 0.0):
            return math.ceil(evidence.units * times) - evidence.units
    return None


def _count_missing_requests(
    evidence: RequestValues | BinnedValues, share: float, limit: float, confidence: Confidence
) -> int | None:
    above = evidence.share_above(limit)
    error = confidence.error_at_look or (confidence.pass_error if above <= 1 - share else confidence.error)
    needed = count_for_verdict(share, above, error)
    requests = evidence.requests
    missing = 0 if needed is None else math.ceil(needed * requests / count_effective(evidence, limit)) - requests
    return missing if missing > 0 else None


def _count_missing_units(
    evidence: RateUnits | RateNoise, value: float, limit: float, better: Better, confidence: Confidence
) -> int | None:
    """Found by trying, as t and the bounds of a share shrink by no simple rule; None if 1000 times as many fail."""
    units = evidence.units
    for times in (1.25**power for power in range(1, 32)):
        interval = _bound_rate(evidence, value, better, confidence, times)
        if interval is None:
            return None
        if not (interval.low or 0.0) < limit <= (interval.high or math.inf):
            return math.ceil(units * times) - units
    return None
