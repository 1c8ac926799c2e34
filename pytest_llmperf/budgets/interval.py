"""How far the truth may be from a measured value, from the evidence of the value."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.confidence.distributions import t_quantile
from pytest_llmperf.budgets.confidence.percentiles import bound_by_spread, bound_share, count_for_verdict, find_ranks
from pytest_llmperf.budgets.confidence.rates import count_freedom, estimate_noise
from pytest_llmperf.budgets.confidence.samples import count_effective_in_groups, count_effective_in_time
from pytest_llmperf.metrics.evidence import RateUnits, RequestValues, SensorAccuracy

if TYPE_CHECKING:
    from pytest_llmperf.metrics.evidence import Evidence
    from pytest_llmperf.metrics.statistics import Statistic

ERROR_AT_EACH_LOOK = 0.002


@dataclass(frozen=True)
class Confidence:
    """How sure a PASS or a FAIL must be.

    Attributes:
        error: the largest probability of being wrong, of each of the two.
        session_noise: the standard deviation between sessions on this machine, as a share; None if it is unknown.
    """

    error: float = 0.01
    session_noise: float | None = None

    @staticmethod
    def at_each_look(session_noise: float | None) -> Confidence:
        """For a test that is judged after each round: an error at each look that keeps about 1 % over 30 of them."""
        return Confidence(ERROR_AT_EACH_LOOK, session_noise)


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

    def stretch_to(self, value: float | None) -> Interval:
        """The same interval, stretched to a value that lies outside of it."""
        if value is None:
            return self
        low = None if self.low is None else min(self.low, value)
        high = None if self.high is None else max(self.high, value)
        return replace(self, low=low, high=high)


def find_interval(
    evidence: Evidence, statistic: Statistic | None, value: float, confidence: Confidence
) -> Interval | None:
    """The interval of a value with this evidence; None where the value has to be taken as it is."""
    match evidence:
        case SensorAccuracy():
            return Interval(value * (1 - evidence.share), value * (1 + evidence.share))
        case RequestValues():
            return _bound_percentile(evidence, statistic, value, confidence)
        case RateUnits():
            return _bound_rate(evidence, value, confidence)


def _bound_percentile(
    evidence: RequestValues, statistic: Statistic | None, value: float, confidence: Confidence
) -> Interval | None:
    if statistic is None or statistic.percentile is None:
        return None  # the largest value is what the test saw, and stands for nothing else
    values = sorted(value for found in evidence.values for value in found)
    effective = count_effective(evidence, value)
    units = len(evidence.values)
    if units < 2:
        return Interval(None, None, units, float(units), "request")
    share = statistic.percentile / 100
    first, last = find_ranks(len(values), share, effective, confidence.error)
    low, high = bound_by_spread(values, share, effective, confidence.error)
    low = min(value, low) if first is None else values[first - 1]
    high = max(value, high) if last is None else values[last - 1]
    return Interval(
        _widen(value, low, -1, confidence),
        _widen(value, high, 1, confidence),
        units,
        min(effective, float(units)),
        "request",
    )


def count_effective(evidence: RequestValues, value: float) -> float:
    """The number of independent values that those of all requests are worth, to tell the share above ``value``."""
    requests = len(evidence.values)
    if evidence.is_per_request:
        alone = [found[0] for found in evidence.values]
        # The slow ones may come in bursts while the others differ at random.
        return min(count_effective_in_time(alone), count_effective_in_time([float(one >= value) for one in alone]))
    sizes = [float(len(found)) for found in evidence.values]
    hits = [float(sum(1 for one in found if one > value)) for found in evidence.values]
    alike_in_time = count_effective_in_time([fmean(found) for found in evidence.values]) / requests
    return max(1.0, count_effective_in_groups(hits, sizes) * alike_in_time)


def _bound_rate(evidence: RateUnits, value: float, confidence: Confidence, times: float = 1.0) -> Interval | None:
    """The interval of a rate; with ``times`` that of so many times as much evidence of the same kind."""
    count, span, units = math.fsum(evidence.counts), math.fsum(evidence.spans), len(evidence.counts)
    if not count or not span or (value <= 0 and evidence.hits is None):
        return None
    noise, effective = estimate_noise(evidence.counts, evidence.spans, evidence.strata)
    sampling = t_quantile(1 - confidence.error, count_freedom(effective * times)) * noise / math.sqrt(times)
    width = math.hypot(sampling, _session_width(confidence))
    least, most, rate = 1.0, 1.0, value
    if evidence.hits is not None:
        worth = times * count_effective_in_time(evidence.hits) / len(evidence.hits)
        hits, trials = sum(evidence.hits) * worth, len(evidence.hits) * worth
        least, most = bound_share(hits, trials, confidence.error)
        rate = value * trials / hits if hits else count / span
    return Interval(rate * least * math.exp(-width), rate * most * math.exp(width), units, effective, evidence.unit)


def _session_width(confidence: Confidence) -> float:
    """How far a session may lie from the others on this machine, on the scale of logarithms."""
    return NormalDist().inv_cdf(1 - confidence.error) * (confidence.session_noise or 0.0)


def _widen(value: float, bound: float, side: int, confidence: Confidence) -> float:
    """The bound, moved up (``side`` 1) or down (-1) from the value by the noise between sessions."""
    if value <= 0 or bound <= 0 or not confidence.session_noise:
        return bound
    return value * math.exp(side * math.hypot(math.log(bound / value), _session_width(confidence)))


def count_missing(
    evidence: Evidence, statistic: Statistic | None, value: float, limit: float, confidence: Confidence
) -> int | None:
    """About how many more units of such evidence would tell the value from its limit; None if no number would."""
    match evidence:
        case RequestValues() if statistic is not None and statistic.percentile is not None:
            return _count_missing_requests(evidence, statistic.percentile / 100, limit, confidence)
        case RateUnits():
            return _count_missing_units(evidence, value, limit, confidence)
        case _:
            return None


def _count_missing_requests(evidence: RequestValues, share: float, limit: float, confidence: Confidence) -> int | None:
    values = [value for found in evidence.values for value in found]
    above = sum(1 for value in values if value > limit) / len(values)
    needed = count_for_verdict(share, above, confidence.error)
    requests = len(evidence.values)
    missing = 0 if needed is None else math.ceil(needed * requests / count_effective(evidence, limit)) - requests
    # Where there should be enough, it is the noise between sessions that no request can take away.
    return missing if missing > 0 else None


def _count_missing_units(evidence: RateUnits, value: float, limit: float, confidence: Confidence) -> int | None:
    """Found by trying, as t and the bounds of a share shrink by no simple rule; None if 1000 times as many fail."""
    units = len(evidence.counts)
    for times in (1.25**power for power in range(1, 32)):
        interval = _bound_rate(evidence, value, confidence, times)
        if interval is None:
            return None
        if not (interval.low or 0.0) < limit <= (interval.high or math.inf):
            return math.ceil(units * times) - units
    return None
