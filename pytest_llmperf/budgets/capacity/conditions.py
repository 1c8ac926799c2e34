"""The latency limits that a rate has to hold, and what the requests of a step say of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.capacity.knee import ShareAtRate
from pytest_llmperf.budgets.client_lag import take_off_lag, why_client_lags
from pytest_llmperf.budgets.confidence.samples import count_effective_in_time
from pytest_llmperf.budgets.interval import count_effective
from pytest_llmperf.budgets.limit import select
from pytest_llmperf.budgets.validity import why_invalid, why_objectives_invalid
from pytest_llmperf.measurement.reading import Missing
from pytest_llmperf.metrics.capacity import SUSTAINED
from pytest_llmperf.metrics.evidence import RequestValues
from pytest_llmperf.metrics.metric import DistributionMetric, Objective

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.measurement.engine_info import EngineInfo
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming

_FEWEST_HITS = 5
_TOLERATED = 0.2
"""By how much of itself the share above a limit may shrink without the lag of the client."""


@dataclass(frozen=True)
class Condition:
    """A limit on a percentile of a latency."""

    limit: Limit
    metric: DistributionMetric
    percent: float

    @property
    def allowed(self) -> float:
        """The share of values that may lie above it."""
        return 1 - self.percent / 100

    def __str__(self) -> str:
        return f"{self.limit.name} ≤ {self.limit.text}"


def find_conditions(limits: Sequence[Limit], engine: EngineInfo | None) -> list[Condition] | Missing:
    """The latency limits of a test that apply to an engine; missing if there are none that a rate can hold."""
    chosen = [one for one in select(limits, engine) if isinstance(one.definition, DistributionMetric)]
    absolute = [limit for limit in chosen if not limit.relative]
    if not absolute:
        return Missing(
            "the highest rate is the one at which latency limits hold, and the test has none: add "
            '@pytest.mark.latency_budget(ttft_p95="300 ms") to it, with the limits of your users'
        )
    found = []
    for limit in absolute:
        metric, statistic = limit.definition, limit.statistic
        assert isinstance(metric, DistributionMetric)
        if statistic is None or statistic.percentile is None:
            return Missing(
                f"{limit.name} is broken by one slow request among however many: limit a percentile instead, "
                f"such as {metric.key}_p99"
            )
        found.append(Condition(limit, metric, statistic.percentile))
    return found


def find_rate_limit(limits: Sequence[Limit], engine: EngineInfo | None) -> float | None:
    """The absolute limit of a test on the highest rate itself, in requests per second; None without one."""
    chosen = [one for one in select(limits, engine) if one.metric == SUSTAINED and not one.relative]
    return chosen[0].value if chosen else None


def find_rate(judged: Sequence[RequestTiming]) -> float | None:
    """The requests per second that a step was to send: their gaps are drawn at random, and so is their rate.

    None for fewer than two.
    """
    starts = sorted(request.start_ns for request in judged)
    span_ns = starts[-1] - starts[0] if starts else 0
    return (len(starts) - 1) * 1e9 / span_ns if span_ns > 0 else None


def see_step(condition: Condition, step: Measurement, rate: float) -> ShareAtRate | Missing:
    """What the judged requests of a step say of a limit; missing if they say nothing.

    A failed request is above every limit.
    """
    return _see(condition, step.judged, rate, condition.limit.value)


def _see(condition: Condition, judged: Sequence[RequestTiming], rate: float, limit: float) -> ShareAtRate | Missing:
    metric = condition.metric
    values = [[limit + 1.0] if request.error is not None else list(metric.values_of(request)) for request in judged]
    gave = [found for found in values if found]
    if not gave:
        return Missing(metric.why_none(judged, metric.key))
    if reason := metric.why_incomplete([request for request in judged if request.error is None]):
        return Missing(reason)
    count = sum(map(len, gave))
    above = sum(1 for found in gave for value in found if value > limit)
    return ShareAtRate(rate, above / count, count, _count_effective(condition, gave, limit))


def _count_effective(condition: Condition, values: Sequence[Sequence[float]], limit: float) -> float:
    if condition.metric.sample != "request":
        return count_effective(RequestValues(values, is_per_request=False), limit)
    alone = [found[0] for found in values]
    hits = [float(value > limit) for value in alone]
    effective = count_effective_in_time(hits)
    # Too few slow requests do not say how they come together; all times do.
    return effective if sum(hits) >= _FEWEST_HITS else min(effective, count_effective_in_time(alone))


def why_client_limits(condition: Condition, step: Measurement, point: ShareAtRate) -> str:
    """Why the latencies of a step are the client's own, if that matters for a limit; else empty."""
    statistic = condition.limit.statistic
    reason = why_client_lags(condition.metric, statistic, step)
    if not reason or point.above <= condition.allowed / 2:
        return ""
    late = -take_off_lag(0.0, condition.metric, statistic, step)
    without = _see(condition, step.judged, point.rate, condition.limit.value + late)
    shrinks = isinstance(without, Missing) or without.above < (1 - _TOLERATED) * point.above
    return reason if shrinks else ""


def why_step_invalid(condition: Condition, step: Measurement) -> str:
    """Why nothing that a step says of a limit can be used; empty if it can."""
    objective = Objective(condition.metric, condition.limit.value)
    return why_invalid(condition.metric, step) or why_objectives_invalid([objective], step)
