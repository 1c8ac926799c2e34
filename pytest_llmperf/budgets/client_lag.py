"""Whether the client itself was too slow for what it was to measure.

A stamp is late by what the client is late, so a client that is late by a tenth of a number makes that number: of a
median by its own median lag, of a p99 by its p99. Below ``FLOOR_S``, about a slice of the system's scheduler, nobody
can tell a slow client from an ordinary host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.units import SECONDS, format_value
from pytest_llmperf.metrics.table import Statistic, distribution

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_llmperf.measurement.load import ClientHealth
    from pytest_llmperf.measurement.measurement import Measurement

FLOOR_S = 0.005
TOLERATED_SHARE = 0.1
MOST_OF_A_CORE = 0.9
_MEDIAN = Statistic(50.0)
# What the lag is compared with, where that is not the metric itself: the error of a TPOT is spread over all tokens of
# an answer, and what a late request does to a rate is in proportion to how long requests take.
_COMPARED_WITH = {
    "tpot": "e2e",
    "per_user": "e2e",
    "output": "e2e",
    "total": "e2e",
    "requests": "e2e",
    "goodput": "e2e",
}


def lagging_client(key: str, statistic: Statistic | None, measurement: Measurement) -> str:
    """Why a latency or a rate is the client's own and not the engine's, in one sentence; empty where it is not."""
    compared, statistic = _COMPARED_WITH.get(key, key), statistic or _MEDIAN
    found = distribution(compared, measurement) if measurement.loads else None
    allowed = max(FLOOR_S, TOLERATED_SHARE * statistic.of(found)) if found and found.count else FLOOR_S
    limit = f"more than {format_value(allowed, SECONDS)} (5 ms, or a tenth of {compared}_{statistic.suffix})"
    reasons = [
        reason
        for load in measurement.loads
        if load.health is not None
        for reason in _reasons(load.health, statistic.percentile, allowed, limit)
    ]
    return "; ".join(dict.fromkeys(reasons))


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
