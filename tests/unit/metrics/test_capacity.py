"""The highest rate that holds, as a search has found it, read from a measurement."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.measurement.capacity.result import CapacityResult
from pytest_llmperf.metrics.table import METRICS
from tests.helpers.streams import limits, measured, stream

FOUND = CapacityResult(
    8.0, 7.0, 9.1, asked="a mix", conditions=("latency.ttft_p95 ≤ 300 ms",), requests=900, noise=0.05, effective=400
)
SUSTAINED = METRICS["throughput.sustained"]
ALL = [*limits("latency", ttft_p95="300 ms"), *limits("throughput", sustained="6 req/s")]


def test_the_rate_of_a_search_is_read_with_its_conditions() -> None:
    reading = SUSTAINED.read(measured(capacities=(FOUND,)))
    assert (reading.value, reading.samples) == (8.0, 900)
    assert "latency.ttft_p95 ≤ 300 ms, by 900 requests at 0 rates" in reading.how


@pytest.mark.parametrize(
    ("capacities", "reason"),
    [
        ((), "call llm_client.capacity(workload)"),
        ((replace(FOUND, rate=None, missing="it knows no rate"),), "it knows no rate"),
        ((FOUND, replace(FOUND, asked="another mix")), "give each a test of its own"),
    ],
)
def test_without_one_rate_it_is_said_why(capacities: tuple[CapacityResult, ...], reason: str) -> None:
    reading = SUSTAINED.read(measured(capacities=capacities))
    assert reading.value is None
    assert reason in reading.reason


@pytest.mark.parametrize(("limit", "status"), [("6 req/s", "PASS"), ("8 req/s", "INCONCLUSIVE"), ("11 req/s", "FAIL")])
def test_it_is_judged_by_its_interval(limit: str, status: str) -> None:
    [verdict] = judge(limits("throughput", sustained=limit), measured(capacities=(FOUND,)))
    assert verdict.status == status


@pytest.mark.parametrize(("limit", "status"), [("8 req/s", "PASS"), ("8.1 req/s", "INVALID")])
def test_a_rate_that_is_a_lower_bound_only_never_fails(limit: str, status: str) -> None:
    bound = replace(FOUND, rate=8.0, low=8.0, high=None, noise=0.0, bounded="the client was too slow at 9 req/s")
    [verdict] = judge(limits("throughput", sustained=limit), measured(capacities=(bound,)))
    assert verdict.status == status
    assert (verdict.reason == "the client was too slow at 9 req/s") == (status == "INVALID")


def test_limits_that_hold_at_no_rate_are_a_fail() -> None:
    [verdict] = judge(ALL[1:], measured(capacities=(replace(FOUND, rate=0.0, low=0.0, noise=0.0),)))
    assert (verdict.status, verdict.measured) == ("FAIL", 0.0)


def test_a_search_with_a_fault_is_invalid() -> None:
    [verdict] = judge(ALL[1:], measured(capacities=(replace(FOUND, fault="3 of 80 requests failed"),)))
    assert (verdict.status, verdict.reason) == ("INVALID", "3 of 80 requests failed")


def test_the_limits_that_the_rate_holds_have_a_verdict_only_beside_other_requests() -> None:
    alone = judge(ALL, measured(capacities=(FOUND,)))
    assert [verdict.name for verdict in alone] == ["throughput.sustained"]
    beside = judge(ALL, measured(*[stream(100, 120, output_tokens=2)] * 200, capacities=(FOUND,)))
    assert [verdict.name for verdict in beside] == ["latency.ttft_p95", "throughput.sustained"]


def test_without_a_limit_on_the_rate_they_are_not_measured() -> None:
    [verdict] = judge(ALL[:1], measured(capacities=(FOUND,)))
    assert verdict.status == "NOT MEASURED"
    assert "the requests of capacity() and sweep() are in no other number" in verdict.reason
