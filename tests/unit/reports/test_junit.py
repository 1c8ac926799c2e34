"""Verdicts as JUnit properties: reports/junit.py."""

from __future__ import annotations

from dataclasses import replace

from pytest_llmperf.budgets.interval import Interval
from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.reports.junit import list_properties, replace_properties
from pytest_llmperf.reports.result import TestResult
from tests.helpers.report_samples import BROKEN, ENGINE, RECORDS, UNMEASURED, measurement, result
from tests.helpers.verdicts import verdict


def test_the_engine_its_model_and_its_device_are_named() -> None:
    found = dict(list_properties(result()))
    assert found["llmperf.engine"] == "vllm 0.11.0"
    assert found["llmperf.model"] == "Qwen/Qwen3-0.6B"
    assert found["llmperf.device"] == "AMD EPYC 7B13"
    assert "llmperf.label" not in found


def test_a_variant_is_named_by_its_label() -> None:
    of_new = replace(measurement(), engine=replace(ENGINE, variant="new"))
    assert dict(list_properties(result(measured=of_new)))["llmperf.label"] == "new"


def test_a_budget_has_its_value_its_limit_and_its_verdict_in_base_units() -> None:
    assert list_properties(TestResult("t", (BROKEN,), {})) == [
        ("llmperf.memory.peak", "18575733555.2 B"),
        ("llmperf.memory.peak.limit", "17179869184 B"),
        ("llmperf.memory.peak.verdict", "FAIL"),
    ]


def test_a_value_with_noise_has_its_bounds_and_what_they_come_from() -> None:
    noisy = verdict(Status.PASS, "throughput.output", "throughput.output", 100.0, "100 tok/s", 140.5)
    noisy = replace(noisy, interval=Interval(120.0, None, 8, 2.6, "round"))
    found = dict(list_properties(TestResult("t", (noisy,), {})))
    assert found["llmperf.throughput.output.low"] == "120 tok/s"
    assert "llmperf.throughput.output.high" not in found
    assert found["llmperf.throughput.output.evidence"] == "8 rounds, worth 3 independent"


def test_a_change_stands_beside_the_value_with_its_baseline() -> None:
    slower = verdict(Status.PASS, "latency.e2e_p50", "latency.e2e", 0.33, "+10 %", 0.3123)
    slower = replace(slower, relative=True, baseline=0.3, interval=Interval(0.3084, 0.3165, 12, 12.0, "run"))
    unknown = verdict(Status.NO_BASELINE, "memory.peak", "memory.peak", None, "+2 %", 1.0, relative=True)
    assert list_properties(TestResult("t", (slower, unknown), {})) == [
        ("llmperf.latency.e2e_p50.change", "0.041"),
        ("llmperf.latency.e2e_p50.change.baseline", "0.3 s"),
        ("llmperf.latency.e2e_p50.change.low", "0.028"),
        ("llmperf.latency.e2e_p50.change.high", "0.055"),
        ("llmperf.latency.e2e_p50.change.evidence", "12 runs"),
        ("llmperf.latency.e2e_p50.change.limit", "+10 %"),
        ("llmperf.latency.e2e_p50.change.verdict", "PASS"),
        ("llmperf.memory.peak.change.limit", "+2 %"),
        ("llmperf.memory.peak.change.verdict", "NO BASELINE"),
    ]


def test_what_was_not_measured_has_no_value() -> None:
    assert list_properties(TestResult("t", (UNMEASURED,), {})) == [
        ("llmperf.latency.ttft_p95.limit", "0.3 s"),
        ("llmperf.latency.ttft_p95.verdict", "NOT MEASURED"),
    ]


def test_a_share_has_no_unit() -> None:
    waste = verdict(Status.PASS, "memory.kv_waste", "memory.kv_waste", 0.1, "10 %", 0.05)
    assert ("llmperf.memory.kv_waste", "0.05") in list_properties(TestResult("t", (waste,), {}))


def test_a_test_without_a_budget_for_its_device_says_so() -> None:
    nothing = Verdict(Status.NO_BUDGET, "", "", reason="none for this device")
    assert list_properties(TestResult("t", (nothing,), {})) == [("llmperf.verdict", "NO BUDGET")]


def test_names_and_values_are_plain_text() -> None:
    assert {type(part) for pair in list_properties(result()) for part in pair} == {str}


def test_a_rerun_replaces_its_own_properties_in_place_and_no_others() -> None:
    existing: list[tuple[str, object]] = [("owner", "me"), ("llmperf.memory.peak", "1 B"), ("llmperfect", 3)]
    same = existing
    replace_properties(existing, [("llmperf.memory.peak", "2 B")])
    replace_properties(existing, [("llmperf.memory.peak", "3 B")])
    assert same == [("owner", "me"), ("llmperfect", 3), ("llmperf.memory.peak", "3 B")]


def test_a_test_without_budgets_has_its_valid_main_metrics_and_what_it_recorded() -> None:
    free = dict(list_properties(result(verdicts=(), measured=replace(measurement(), records=RECORDS))))
    assert free["llmperf.memory.peak"] == "18575733555 B"
    assert free["llmperf.latency.ttft_p50"] == "0.1 s"
    assert free["llmperf.recorded.accuracy"] == "0.93"
    doubted = dict(list_properties(result(verdicts=(), measured=replace(measurement(), faults=("the sampler died",)))))
    assert "llmperf.memory.peak" not in doubted
