"""The table of metrics."""

from __future__ import annotations

import pytest

from pytest_llmperf.metrics.metric import DistributionMetric
from pytest_llmperf.metrics.table import GROUPS, METRICS, list_keys, why_unread

HIGHER = {
    "memory.offload", "throughput.output", "throughput.total", "throughput.requests", "throughput.goodput",
    "throughput.sustained", "throughput.per_user", "throughput.prefix_hit_rate", "throughput.acceptance_rate",
    "throughput.acceptance_length", "throughput.inputs", "throughput.input_tokens", "quality.agreement",
}  # fmt: skip
UNITS = {"memory": "B", "latency": "s", "cost": "currency"}
OTHER_UNITS = {
    "memory.kv_waste": "1",
    "memory.offload": "1",
    "throughput.output": "tok/s",
    "throughput.total": "tok/s",
    "throughput.requests": "req/s",
    "throughput.goodput": "req/s",
    "throughput.sustained": "req/s",
    "throughput.per_user": "tok/s",
    "throughput.prefix_hit_rate": "1",
    "throughput.acceptance_rate": "1",
    "throughput.acceptance_length": "tok/step",
    "throughput.inputs": "inputs/s",
    "throughput.input_tokens": "tok/s",
    "energy.total": "J",
    "energy.per_output_token": "J/tok",
    "energy.mean_power": "W",
    "quality.agreement": "1",
    "quality.kl": "nat",
}

# --------------------------------------------------------------------------------------------------------- the table


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_a_formula_a_unit_and_a_direction(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name
    assert metric.formula
    assert metric.quantity.base == OTHER_UNITS.get(name, UNITS.get(metric.group))
    assert metric.better == ("higher" if name in HIGHER else "lower")
    assert isinstance(metric, DistributionMetric) == (
        metric.group == "latency" and metric.key not in ("startup", "cancel")
    )


def test_the_groups_hold_what_the_markers_take() -> None:
    assert list_keys("memory") == [
        "peak", "growth", "retained", "idle", "unloaded", "host_peak", "weights", "kv_cache", "kv_reserved",
        "required", "kv_waste", "offload",
    ]  # fmt: skip
    assert list_keys("throughput") == [
        "output", "total", "requests", "goodput", "sustained", "per_user", "inputs", "input_tokens", "prefix_hit_rate",
        "acceptance_rate", "acceptance_length",
    ]  # fmt: skip
    assert list_keys("latency") == [
        "ttft_pNN", "ttft_answer_pNN", "tpot_pNN", "itl_pNN", "chunk_gap_pNN", "e2e_pNN",
        "embed_pNN", "rank_pNN", "cancel", "startup",
    ]  # fmt: skip
    assert list_keys("quality") == ["agreement", "kl"]
    assert list_keys("energy") == ["total", "per_output_token", "mean_power"]
    assert list_keys("cost") == ["per_million_output", "total", "idle_month"]
    assert {metric.group for metric in METRICS.values()} == set(GROUPS)


def test_a_reading_of_an_engine_that_would_be_shown_nowhere_is_named() -> None:
    assert why_unread(["memory.weights", "memory.kv_cache"]) == ()
    assert why_unread(["memory.peak", "memory.weights", "memory.unknown"]) == (
        "the engine states memory.peak, which is not a metric that an engine states",
        "the engine states memory.unknown, which is not a metric that an engine states",
    )
