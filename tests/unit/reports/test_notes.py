"""What a reader should know of tests whatever their verdicts: reports/notes.py."""

from __future__ import annotations

from pytest_llmperf.reports.notes import list_notes
from pytest_llmperf.reports.result import TestResult
from tests.helpers.report_samples import result


def disturbed(nodeid: str, *facts: str) -> TestResult:
    found = result(nodeid)
    return TestResult(nodeid, found.verdicts, {**found.measurement, "disturbances": list(facts)})


def test_a_fact_of_several_tests_is_one_line() -> None:
    tests = [disturbed(f"t.py::{name}", "a request of test_z was still running") for name in "abc"]
    assert list_notes(tests) == ["a request of test_z was still running (t.py::a and 2 more)"]


def test_facts_that_differ_in_numbers_only_are_one_line_with_the_numbers_of_the_first() -> None:
    waited = [("a", "88 %"), ("b", "88 %"), ("c", "9.5 %"), ("d", "70 %")]
    tests = [disturbed(f"t.py::{name}", f"the engine waited {share} of its time") for name, share in waited]
    assert list_notes([*tests, disturbed("t.py::e", "the GPU throttled")]) == [
        "the engine waited 88 % of its time (t.py::a and 1 more; 2 more with other numbers)",
        "the GPU throttled (t.py::e)",
    ]
