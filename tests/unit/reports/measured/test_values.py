"""The main numbers of tests: reports/measured/values.py."""

from __future__ import annotations

from dataclasses import replace

from pytest_llmperf.measurement.measurement import RecordedValue
from pytest_llmperf.reports.measured.values import list_measured, list_names, list_reasons, measure_test
from pytest_llmperf.reports.result import TestResult
from tests.helpers.report_samples import PASSING, RECORDS, measurement, result


def free(nodeid: str = "t.py::free", **changed: object) -> TestResult:
    return result(nodeid, (), replace(measurement(), **changed), outcome="passed")  # type: ignore[arg-type]


def test_tests_without_budgets_have_their_numbers_and_others_what_they_recorded() -> None:
    results = [result("t.py::limited", (PASSING,), replace(measurement(), records=RECORDS)), free()]
    limited, unlimited = list_measured(results)
    assert (limited.nodeid, list(limited.values), list(limited.records)) == ("t.py::limited", [], ["accuracy"])
    assert (unlimited.nodeid, len(unlimited.values)) == ("t.py::free", 4)
    assert [len(test.values) for test in list_measured(results, everything=True)] == [4, 4]
    assert [test.nodeid for test in list_measured(results, besides={"t.py::free"})] == ["t.py::limited"]


def test_a_test_without_any_number_is_not_listed() -> None:
    nothing = free(requests=(), memory=None, engine_readings={})
    assert list_measured([TestResult("t.py::t", (), {}), nothing]) == []


def test_the_main_metrics_stand_by_their_full_names() -> None:
    found = measure_test(free(records=RECORDS))
    texts = {name: cell.text for name, cell in found.values.items()}
    assert texts == {
        "latency.ttft_p50": "100 ms",
        "latency.tpot_p50": "10.0 ms",
        "throughput.output": "66.8 tok/s",
        "memory.peak": "17.3 GiB",
    }
    assert {name: cell.text for name, cell in found.records.items()} == {"accuracy": "0.93"}


def test_with_few_requests_the_maximum_stands_in_place_of_the_median() -> None:
    few = free("t.py::few", requests=measurement().requests[:3])
    assert list(measure_test(few).values)[:2] == ["latency.ttft_max", "latency.tpot_max"]
    assert list_names(list_measured([free(), few]))[:4] == [
        "latency.ttft_p50",
        "latency.ttft_max",
        "latency.tpot_p50",
        "latency.tpot_max",
    ]


def test_what_was_recorded_last_under_a_name_counts() -> None:
    records = (RecordedValue("score", 1.0, "points"), RecordedValue("score", 2.5, "points"))
    assert measure_test(free(records=records)).records["score"].text == "2.5 points"


def test_only_a_test_without_an_engine_that_recorded_something_is_listed() -> None:
    recorded = free(records=RECORDS, engine=None, requests=(), memory=None, engine_readings={})
    (test,) = list_measured([recorded])
    assert not test.values
    assert list(test.records) == ["accuracy"]


def test_invalid_numbers_have_their_sign_and_reason() -> None:
    doubted = free("t.py::doubted", faults=("the sampler died",))
    failed = replace(free("t.py::failed"), is_whole=False)
    tests = list_measured([free(), doubted, failed])
    assert {cell.sign for cell in tests[0].values.values()} == {""}
    assert {cell.sign for cell in tests[1].values.values()} == {"!"}
    assert list_reasons(tests) == ["the sampler died", "the test failed before its end"]
