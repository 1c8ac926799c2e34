"""The highest rate at which latency limits hold, as a search of the test has found it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.reading import Missing, Reading
from pytest_llmperf.metrics.evidence import RateNoise

if TYPE_CHECKING:
    from pytest_llmperf.measurement.capacity.result import CapacityResult
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.metrics.metric import Metric

SUSTAINED = "throughput.sustained"


def read_sustained(measurement: Measurement, metric: Metric) -> Reading:
    """The rate of the one search of a test."""
    found = find_search(measurement)
    if isinstance(found, Missing):
        return Reading.missing(found.reason)
    if found.rate is None:
        return Reading.missing(found.missing or found.fault)
    rates = f"{len(found.curve)} rate{'' if len(found.curve) == 1 else 's'}"
    how = f"{metric.formula}, {' and '.join(found.conditions)}, by {found.requests} requests at {rates}"
    return Reading(found.rate, how, samples=found.requests)


def find_evidence(measurement: Measurement) -> RateNoise | None:
    """How well the search knows the rate; None for a bound, which is compared with a limit as it is."""
    found = find_search(measurement)
    if isinstance(found, Missing) or not found.rate or not found.noise:
        return None
    return RateNoise(found.noise, found.requests, max(2.0, found.effective), "request")


def find_search(measurement: Measurement) -> CapacityResult | Missing:
    """The search of a test; missing if it made none, or several that differ in what they asked."""
    searches = measurement.capacities
    if not searches:
        return Missing("the test searched for no capacity: call llm_client.capacity(workload)")
    if len(searches) > 1:
        several = "on several engines" if measurement.parts else "with several workloads"
        hint = "give the budget an engine=" if measurement.parts else "give each a test of its own"
        return Missing(f"the test searched for the capacity {several}: {hint}")
    return searches[0]


def why_fault(measurement: Measurement) -> str:
    """Why nothing of the search of a test can be used; empty if it can, or there is none."""
    found = find_search(measurement)
    return "" if isinstance(found, Missing) else found.fault


def why_bounded(measurement: Measurement) -> str:
    """Why the highest rate may be higher than the one that was found; empty if it is not."""
    found = find_search(measurement)
    return "" if isinstance(found, Missing) or found.rate is None else found.bounded
