"""Searches for the highest rate and sweeps in sentences."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.measurement.capacity.result import CapacityResult, MeasuredPoint, SweepResult
from pytest_llmperf.reports.curve_evidence import collect_curve_evidence, describe_rate, thin_out
from pytest_llmperf.reports.wire.measurement import measurement_to_wire
from tests.helpers.streams import measured

POINT = MeasuredPoint(
    6.0, None, 56, 1, 9.3, {"latency.ttft_p95": 0.3, "throughput.output": 120.0, "memory.kv_cache": 2**20}, {}, 0.9
)
SEARCH = CapacityResult(
    8.0, 7.0, 9.1, (POINT,), "a mix", ("latency.ttft_p95 ≤ 300 ms",), {"latency.ttft_p95": 0.3}, 900, 75.0
)


def wire(**fields: Any) -> dict[str, Any]:
    return measurement_to_wire(measured(**fields))


def test_a_search_is_told_with_its_curve() -> None:
    assert list(collect_curve_evidence(wire(capacities=(SEARCH,)))) == [
        ("capacity", "8.00 req/s (7 to 9.1) with latency.ttft_p95 ≤ 300 ms; a mix"),
        ("capacity", "900 requests in 75.0 s"),
        ("curve", "6.00 req/s: ttft_p95 300 ms, output 120 tok/s, kv_cache 1.00 MiB, 0.9 in flight, 1 of 56 failed"),
    ]


def test_a_sweep_is_told_with_its_curve() -> None:
    point = MeasuredPoint(None, 8, 20, 0, 1.0, {"latency.tpot_p50": 0.02}, in_flight=7.9)
    assert list(collect_curve_evidence(wire(sweeps=(SweepResult((point,), "a mix"),)))) == [
        ("sweep", "a mix"),
        ("curve", "8 at a time: tpot_p50 20.0 ms, 7.9 in flight"),
    ]


@pytest.mark.parametrize(
    ("search", "text"),
    [
        ({"rate": None}, "no rate"),
        ({"rate": 0.0, "low": 0.0, "high": 1.0}, "0.00 req/s"),
        ({"rate": 7.0, "low": 7.0, "high": None, "bounded": "why"}, "at least 7.00 req/s"),
        ({"rate": 7.0, "low": 6.0, "high": 8.0}, "7.00 req/s (6 to 8)"),
    ],
)
def test_a_rate_is_told_as_what_it_is(search: dict[str, Any], text: str) -> None:
    assert describe_rate(search) == text


def test_a_long_curve_keeps_its_ends() -> None:
    curve = [{"rate": float(rate)} for rate in range(40)]
    shown = thin_out(curve, 8)
    assert (len(shown), shown[0], shown[-1]) == (8, curve[0], curve[-1])


def test_a_report_of_an_earlier_version_has_none() -> None:
    assert list(collect_curve_evidence({})) == []
