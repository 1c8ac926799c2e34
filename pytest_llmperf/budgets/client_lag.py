"""Whether the client itself was too slow for what it was to measure.

If the client is late, its timestamps are late by as much; a value under ten times that lag is mostly lag. A median is
compared with the median of the lag, a p99 with its p99. Below ``FLOOR_S``, about a time slice of the system's
scheduler, a slow client cannot be told from an ordinary host.

The lag of a load is known for all of its requests together, that of other requests for each.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.distribution import Distribution
from pytest_llmperf.measurement.load import group_lags
from pytest_llmperf.measurement.units import SECONDS, format_value
from pytest_llmperf.metrics.metric import DistributionMetric, StreamTime
from pytest_llmperf.metrics.rows import E2E
from pytest_llmperf.metrics.statistics import Statistic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_llmperf.measurement.load import ClientHealth
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming, Way
    from pytest_llmperf.metrics.metric import Metric

FLOOR_S = 0.005
TOLERATED_SHARE = 0.1
MOST_OF_A_CORE = 0.9
_MEDIAN = Statistic(50.0)
_WHO: dict[Way, str] = {
    "call": "the client that sent single requests",
    "list": "the client that sent lists of prompts",
    "app": "the relay of the app's calls",
}


def why_client_lags(metric: Metric, statistic: Statistic | None, measurement: Measurement) -> str:
    """Why a latency or a rate is the client's own and not the engine's, in one sentence; empty if it is the engine's.

    What a late request does to a rate is in proportion to how long requests take, so that rates are compared with the
    end-to-end time.
    """
    compared, statistic = _find_reference(metric), statistic or _MEDIAN
    found = compared.distribution(measurement) if measurement.loads else None
    allowed = max(FLOOR_S, TOLERATED_SHARE * statistic.of(found)) if found and found.count else FLOOR_S
    limit = f"more than {format_value(allowed, SECONDS)} (5 ms, or a tenth of {compared.key}_{statistic.suffix})"
    reasons = [
        reason
        for load in measurement.loads
        if load.health is not None
        for reason in _reasons(load.health, statistic.percentile, allowed, limit)
    ]
    floor = format_value(FLOOR_S, SECONDS)
    for way, lag in group_lags(measurement.judged).items():
        name, late = lag.at(statistic.percentile)
        if late > FLOOR_S:
            reasons.append(f"{_WHO[way]} was late by {format_value(late, SECONDS)} ({name}), more than {floor}")
    return "; ".join(dict.fromkeys(reasons))


def take_off_lag(value: float, metric: Metric, statistic: Statistic | None, measurement: Measurement) -> float:
    """What the value would be at best had the client not been late, in the base unit of the metric.

    From a latency the lag is subtracted; a rate grows by as much as requests would have been shorter, and what is
    divided by a rate shrinks.
    """
    late = _find_lag(metric, statistic or _MEDIAN, measurement, -1)
    if metric.quantity is SECONDS:
        return value - late
    typical = _find_typical(metric, measurement)
    if metric.better == "lower":  # the inverse of a rate
        return value * (typical - late) / typical if late < typical else 0.0
    return value * typical / (typical - late) if late < typical else math.inf


def add_lag(value: float, metric: Metric, statistic: Statistic | None, measurement: Measurement) -> float:
    """What the value would be at worst had the client not been late: a lag may have made the time between tokens short.

    In the base unit of the metric.
    """
    late = _find_lag(metric, statistic or _MEDIAN, measurement, 1)
    if metric.quantity is SECONDS:
        return value + late
    typical = _find_typical(metric, measurement)
    if metric.better == "lower":
        return value * (typical + late) / typical if typical else value
    return value * typical / (typical + late) if typical + late else value


def is_saturated(measurement: Measurement) -> bool:
    """Whether a load client took all of its core, so that its lag does not tell what it did to the times of tokens."""
    return any(load.health is not None and load.health.cpu_share > MOST_OF_A_CORE for load in measurement.loads)


def find_largest_lag(measurement: Measurement) -> float:
    """Seconds by which any latency of the measurement may be too long."""
    alone = (request.lag.seconds for request in measurement.judged if request.lag)
    loads = (_sum_lags(load.health, None) for load in measurement.loads if load.health)
    return max((*alone, *loads), default=0.0)


def _find_lag(metric: Metric, statistic: Statistic, measurement: Measurement, sign: int) -> float:
    """Seconds by which the value at a statistic may be too long (``sign`` -1) or too short (1)."""
    of_loads = [_sum_lags(load.health, statistic.percentile) for load in measurement.loads if load.health]
    if isinstance(metric, DistributionMetric) and metric.quantity is SECONDS:
        return max([*of_loads, _shift(metric, statistic, measurement, sign)])
    alone = [lag.at(statistic.percentile)[1] for lag in group_lags(measurement.judged).values()]
    return max([*of_loads, *alone], default=0.0)


def _shift(metric: DistributionMetric, statistic: Statistic, measurement: Measurement, sign: int) -> float:
    """Seconds by which the statistic moves if each request was late by as much as it may have been."""
    if not any(request.lag for request in measurement.judged):
        return 0.0
    moved = Distribution(
        [max(0.0, value + sign * _find_lag_of_values(metric, request)) for value in metric.values_of(request)]
        for request in measurement.judged
    )
    if not moved.count:
        return 0.0
    return abs(statistic.of(moved) - statistic.of(metric.distribution(measurement)))


def _find_lag_of_values(metric: Metric, request: RequestTiming) -> float:
    """Seconds by which the values of a request may be wrong: only those from its sending on depend on when it was."""
    if request.lag is None:
        return 0.0
    if metric.worse_with_lag:
        return request.lag.seconds
    reading = request.lag.reading_ns / 1e9
    return reading / max(1.0, request.tokens_after_first or 1.0) if metric.stream_time is StreamTime.SPAN else reading


def _find_typical(metric: Metric, measurement: Measurement) -> float:
    """Seconds that a rate is in inverse proportion to: the whole of a median request, or that between its tokens."""
    if metric.stream_time is StreamTime.SPAN:
        spans = [r.tpot * (r.tokens_after_first or 0.0) for r in measurement.judged if r.error is None and r.tpot]
        return median(spans) if spans else 0.0
    found = E2E.distribution(measurement)
    return _MEDIAN.of(found) if found.count else 0.0


def _sum_lags(health: ClientHealth, percent: float | None) -> float:
    lags = [health.loop_lag, *([health.schedule_lag] if health.schedule_lag else [])]
    return sum(lag.at(percent)[1] for lag in lags)


def _find_reference(metric: Metric) -> DistributionMetric:
    if metric.lag_against is not None:
        return metric.lag_against
    return metric if isinstance(metric, DistributionMetric) and metric.quantity is SECONDS else E2E


def _reasons(health: ClientHealth, percent: float | None, allowed: float, limit: str) -> Iterator[str]:
    if health.schedule_lag is not None:
        name, late = health.schedule_lag.at(percent)
        if late > allowed:
            yield f"the client sent its requests late by {format_value(late, SECONDS)} ({name}), {limit}"
    name, late = health.loop_lag.at(percent)
    if late > allowed:
        yield f"the client's event loop was late by {format_value(late, SECONDS)} ({name}), {limit}"
    if health.cpu_share > MOST_OF_A_CORE:
        yield f"the client took {health.cpu_share:.0%} of its core, more than {MOST_OF_A_CORE:.0%}".replace("%", " %")
