"""What makes a measurement INVALID is kept with it, for every metric, limited or not."""

from __future__ import annotations

import json

import pytest

from pytest_llmperf.budgets.stored.validity import find_objections, objections_from_wire, objections_to_wire
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.metrics.table import METRICS
from tests.helpers.device_samples import THROTTLED, on
from tests.helpers.streams import measured, stream, trace, whole

GOOD = stream(100, 120, output_tokens=2)
FAILED = stream(error="HTTP 500: boom")


def test_nothing_stands_against_a_good_measurement() -> None:
    assert find_objections(measured(GOOD, whole(0, 90, output_tokens=3), memory=trace(1, 2))) == []


def test_what_taints_many_metrics_is_written_once() -> None:
    [objection] = find_objections(measured(GOOD, FAILED))
    assert objection.reason == "1 of 2 requests failed, the first with: HTTP 500: boom"
    assert objection.undoes == "any"
    assert {"latency.ttft", "throughput.output", "memory.peak"} <= set(objection.metrics)
    assert "latency.startup" not in objection.metrics


def test_what_makes_a_number_worse_undoes_a_fail_and_leaves_a_pass() -> None:
    slowed = measured(GOOD, devices=(on(trace(1, 2), conditions=THROTTLED),))
    [objection] = [one for one in find_objections(slowed) if "latency.ttft" in one.metrics]
    assert objection.undoes == "fail"
    assert not objection.applies_to("latency.ttft", Status.PASS)
    assert objection.applies_to("latency.ttft", Status.FAIL)
    assert objection.applies_to("latency.ttft", Status.INCONCLUSIVE)
    assert not objection.applies_to("latency.ttft", Status.NOT_MEASURED)
    assert not objection.applies_to("memory.weights", Status.FAIL)


@pytest.mark.parametrize("requests", [(GOOD,), (GOOD, FAILED), (stream(output_tokens=0),)])
def test_objections_come_back_from_json(requests: tuple[object, ...]) -> None:
    found = find_objections(measured(*requests))  # type: ignore[arg-type]
    assert objections_from_wire(json.loads(json.dumps(objections_to_wire(found)))) == found
    assert {name for one in found for name in one.metrics} <= set(METRICS)
