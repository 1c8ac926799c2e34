"""Readings as tables."""

from __future__ import annotations

from dataclasses import replace

from pytest_llmperf.reports.page.readings import find_common_missing, group_by_reason, read_readings
from tests.helpers.report_samples import RECORDS, measurement, result


def test_latencies_have_a_column_for_each_statistic_and_other_values_a_row() -> None:
    found = read_readings(result(measured=replace(measurement(), records=RECORDS)).measurement)
    assert found.latencies.columns == ("p50", "max")
    assert dict(found.latencies.rows)["latency.ttft"] == ("100 ms", "100 ms")
    assert dict(found.values)["memory.peak"] == "17.3 GiB"
    assert dict(found.recorded) == {"accuracy": "0.93"}
    assert any("latency.ttft_p95" in names for _, names in found.missing)


def test_counters_and_windows_without_anything_are_no_rows() -> None:
    found = read_readings(result(measured=replace(measurement(), engine_stats={"preemptions": 2.0})).measurement)
    assert found.counters == (("preemptions", "2"),)
    empty = read_readings({})
    assert not (empty.latencies.rows)
    assert not (empty.values)
    assert not (empty.recorded)
    assert not (empty.counters)
    assert not (empty.missing)


def test_what_every_test_misses_for_one_reason_is_told_once() -> None:
    results = [result("a"), result("b"), replace(result("c"), measurement={})]
    common = find_common_missing(results)
    assert ("no energy counter is read on AMD EPYC 7B13", "energy.total") in common
    assert read_readings(results[0].measurement, common).missing == ()
    assert dict(group_by_reason(common))["no energy counter is read on AMD EPYC 7B13"][0] == "energy.total"
    assert find_common_missing(results[1:]) == []
