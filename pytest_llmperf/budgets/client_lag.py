"""Whether the client itself was too slow for what it was to measure.

A stamp is late by what the client is late, so a client that is late by a tenth of a number makes that number. Below
``FLOOR_S``, about a slice of the system's scheduler, nobody can tell a slow client from an ordinary host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.metrics import distribution
from pytest_llmperf.units import SECONDS, format_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_llmperf.loads import ClientHealth
    from pytest_llmperf.measurement import Measurement

FLOOR_S = 0.005
TOLERATED_SHARE = 0.1
MOST_OF_A_CORE = 0.9
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


def lagging_client(key: str, measurement: Measurement) -> str:
    """Why a latency or a rate is the client's own and not the engine's, in one sentence; empty where it is not."""
    compared = _COMPARED_WITH.get(key, key)
    reasons = [
        reason
        for load in measurement.loads
        if load.health is not None
        for reason in _reasons(load.health, _allowed(compared, measurement), compared)
    ]
    return "; ".join(dict.fromkeys(reasons))


def _allowed(compared: str, measurement: Measurement) -> float:
    found = distribution(compared, measurement)
    return max(FLOOR_S, TOLERATED_SHARE * found.ranked(found.count // 2 + 1)) if found.count else FLOOR_S


def _reasons(health: ClientHealth, allowed: float, compared: str) -> Iterator[str]:
    limit = f"more than {format_value(allowed, SECONDS)} (5 ms, or a tenth of the median {compared})"
    late = health.schedule_lag
    if late is not None and late.p99 > allowed:
        yield f"the client sent its requests late by {format_value(late.p99, SECONDS)} at p99, {limit}"
    if health.loop_lag.p99 > allowed:
        yield f"the client's event loop was late by {format_value(health.loop_lag.p99, SECONDS)} at p99, {limit}"
    if health.cpu_share > MOST_OF_A_CORE:
        yield f"the client took {health.cpu_share:.0%} of its core, more than {MOST_OF_A_CORE:.0%}".replace("%", " %")
