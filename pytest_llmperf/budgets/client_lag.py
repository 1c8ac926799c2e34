"""Whether the client itself was too slow for what it was to measure.

If the client is late, its timestamps are late by as much; a value under ten times that lag is mostly lag. A median is
compared with the median of the lag, a p99 with its p99. Below ``FLOOR_S``, about a time slice of the system's
scheduler, a slow client cannot be told from an ordinary host.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.units import SECONDS, format_value
from pytest_llmperf.metrics.metric import DistributionMetric
from pytest_llmperf.metrics.rows import E2E
from pytest_llmperf.metrics.statistics import Statistic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_llmperf.measurement.load import ClientHealth
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.metrics.metric import Metric

FLOOR_S = 0.005
TOLERATED_SHARE = 0.1
MOST_OF_A_CORE = 0.9
_MEDIAN = Statistic(50.0)


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
    return "; ".join(dict.fromkeys(reasons))


def take_off_lag(value: float, metric: Metric, statistic: Statistic | None, measurement: Measurement) -> float:
    """What the value would be at best had the client not been late, in the base unit of the metric.

    From a latency the lag is subtracted; a rate grows by as much as requests would have been shorter.
    """
    compared, statistic = _find_reference(metric), statistic or _MEDIAN
    found = compared.distribution(measurement)
    late = max((_sum_lags(load.health, statistic.percentile) for load in measurement.loads if load.health), default=0.0)
    if metric.quantity is SECONDS:
        return value - late
    typical = statistic.of(found) if found.count else 0.0
    return value * typical / (typical - late) if late < typical else math.inf


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
