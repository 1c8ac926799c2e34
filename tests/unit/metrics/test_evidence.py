"""What a value is computed from: as much work and memory as there are requests."""

from __future__ import annotations

import tracemalloc

import pytest

from pytest_llmperf.measurement.load import Load
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.metrics.evidence import RequestValues, count_in_units, measure_progress
from pytest_llmperf.metrics.table import find
from tests.helpers.streams import measured, stream

MS = 10**6


def request_at(start_ms: int, ms: int = 1000) -> RequestTiming:
    return RequestTiming(start_ms * MS, (start_ms + ms) * MS, streamed=False, output_tokens=1)


@pytest.mark.parametrize("requests", [100, 1000])
def test_each_request_is_looked_at_in_the_units_that_it_reaches_into(requests: int) -> None:
    looked: list[RequestTiming] = []

    def count(request: RequestTiming, unit: Window) -> float:
        looked.append(request)
        return measure_progress(request, unit)

    one_after_another = [request_at(1000 * at) for at in range(requests)]
    found = count_in_units(measured(*one_after_another), one_after_another, count)
    assert found is not None
    assert sum(found.counts) == pytest.approx(requests)
    assert len(looked) <= 3 * requests


def test_a_request_counts_in_each_slice_by_the_time_that_it_spent_there() -> None:
    requests = [request_at(100 * at, 400) for at in range(100)]
    found = count_in_units(
        measured(*requests, loads=(Load("100 requests", Window(0, 10_000 * MS)),)), requests, measure_progress
    )
    assert found is not None
    assert found.unit == "slice"
    # A quarter of each request after the other lies in a tenth of a second: four run at a time, fewer at the edges.
    assert found.counts[1:-1] == pytest.approx([found.spans[1] * 10] * (len(found.counts) - 2))
    assert sum(found.counts) == pytest.approx(98.5)


def test_the_gaps_of_long_answers_are_not_kept() -> None:
    requests = [stream(*range(0, 200_000, 20), output_tokens=10_000) for _ in range(10)]
    metric, _ = find("latency.itl_p99")
    tracemalloc.start()
    evidence = metric.find_evidence(measured(*requests))
    assert isinstance(evidence, RequestValues)
    gaps = sum(len(found) for found in evidence.values)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert gaps == 10 * 9_999
    assert kept < 8 * gaps / 2
    assert evidence.ordered.count == gaps
