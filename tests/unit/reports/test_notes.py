"""What a reader should know of tests whatever their verdicts: reports/notes.py."""

from __future__ import annotations

import pytest

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.reports.notes import list_notes
from pytest_llmperf.reports.result import TestResult
from tests.helpers.report_samples import PASSING, result
from tests.helpers.verdicts import verdict


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


FAILED = {"embed": 3, "rank": 1, "failed": 2, "errors": {"HTTP 500: boom": 2}, "texts": 2, "tokens": None}
REASON = "2 of 4 requests failed, the first with: HTTP 500: boom"
INVALID = verdict(Status.INVALID, "latency.embed_max", "latency.embed", 1.0, "1 s", reason=REASON)


@pytest.mark.parametrize("said", [False, True])
def test_failed_embeddings_that_no_verdict_speaks_of_are_told(said: bool) -> None:
    found = result("t.py::a")
    measured = {**found.measurement, "requests": {**found.measurement["requests"], "inputs": FAILED}}
    told = "2 of 4 requests for embeddings or scores failed, most with: HTTP 500: boom (t.py::a)"
    verdicts = (PASSING, INVALID) if said else (PASSING,)
    assert list_notes([TestResult("t.py::a", verdicts, measured)]) == ([] if said else [told])


@pytest.mark.parametrize("in_a_load", [False, True])
def test_failed_requests_for_text_beside_budgets_of_embeddings_are_told(in_a_load: bool) -> None:
    found = result("t.py::a")
    requests = {**found.measurement["requests"], "total": 4, "failed": 1, "errors": {"HTTP 500: boom": 1}}
    measured = {**found.measurement, "requests": requests, "loads": [{}] if in_a_load else []}
    told = "1 of 4 requests for text failed, most with: HTTP 500: boom (t.py::a)"
    assert list_notes([TestResult("t.py::a", (PASSING,), measured)]) == ([] if in_a_load else [told])
