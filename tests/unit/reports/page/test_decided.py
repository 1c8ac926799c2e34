"""What decided a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.budgets.interval import Interval
from pytest_llmperf.reports.page.decided import describe_decision
from tests.helpers.report_samples import PASSING, UNMEASURED, result

if TYPE_CHECKING:
    from pytest_llmperf.reports.result import TestResult

STRICT = {"failing": ["FAIL", "NOT MEASURED"]}
SURE = replace(PASSING, interval=Interval(60.0, 70.0, 12, 12.0, "request"))
GOOD = result("test_a.py::test_good", (PASSING,), outcome="passed")


@pytest.mark.parametrize(
    ("results", "run", "headline"),
    [
        ([], {"exit_status": 0}, "Nothing was measured"),
        ([], {"exit_status": 5}, "Failed: no test ran"),
        ([GOOD], {"exit_status": 0}, "Passed: the budget held"),
        ([GOOD, replace(GOOD, nodeid="b")], {"exit_status": 0}, "Passed: all 2 budgets held"),
        ([result("a", (PASSING, UNMEASURED), outcome="passed")], {}, "Passed: 1 of 2 budgets held, 1 without a PASS"),
        ([result("a", (), outcome="passed")], {"exit_status": 0}, "Passed: 1 test measured, no budgets"),
        ([result()], {"exit_status": 1}, "Failed: 1 of 3 budgets broken"),
        ([result()], {"exit_status": 1, **STRICT}, "Failed: 1 of 3 budgets broken, 1 budget without a verdict"),
        ([GOOD], {"exit_status": 1}, "Failed: pytest ended with status 1"),
        ([GOOD], {"exit_status": 2, "ended": "it was interrupted"}, "Failed: the run ended early"),
        (
            [result()],
            {"exit_status": 1, "ended": "stopping after 1 failures"},
            "Failed: 1 of 3 budgets broken, the run ended early",
        ),
        (
            [GOOD],
            {"exit_status": 1, "failures": [["b", "???", "worker 'gw0' crashed"]]},
            "Failed: 1 test failed without a budget",
        ),
        (
            [GOOD],
            {"exit_status": 1, "failures": [["b", "setup", "RuntimeError: no db"]]},
            "Failed: 1 error in setup or teardown",
        ),
    ],
)
def test_the_headline_says_what_made_the_run_fail(
    results: list[TestResult], run: dict[str, Any], headline: str
) -> None:
    decision = describe_decision(results, {}, run)
    assert decision.headline == headline
    assert decision.tone == {"Failed": "fail", "Passed": "pass"}.get(headline.partition(":")[0], "warn")
    assert decision.failed is headline.startswith("Failed")
    assert bool(decision.proof) is headline.startswith("Passed")


def test_causes_are_told_with_value_limit_and_reason_and_what_failed_nothing_apart_from_them() -> None:
    failures = [["test_b.py::test_other", "setup", "RuntimeError: no db"]]
    found = describe_decision([result()], {"findings": ["a typo"]}, {"exit_status": 1, "failures": failures})
    broken, own = found.causes
    assert (broken.state, broken.budget, broken.measured, broken.limit) == (
        "FAIL",
        "memory.peak",
        "17.3 GiB",
        "≤ 16 GiB",
    )
    assert broken.reason == "8.1 % above the limit"
    assert broken.anchor
    assert (own.state, own.nodeid, own.anchor, own.reason) == (
        "TEST FAILED",
        "test_b.py::test_other",
        "",
        "in setup: RuntimeError: no db",
    )
    assert [(cause.state, cause.reason) for cause in found.open] == [
        ("NOT MEASURED", "p95 needs 130 requests, the test gave 12")
    ]
    assert found.findings == ("a typo",)


def test_a_broken_budget_of_a_test_that_may_fail_is_no_cause() -> None:
    expected = replace(result(), outcome="skipped")  # pytest's for a test that is marked xfail
    found = describe_decision([expected], {}, {"exit_status": 0, **STRICT})
    assert not found.causes
    assert [cause.state for cause in found.open] == ["FAIL", "NOT MEASURED"]


def test_a_run_that_passed_says_how_sure_that_is() -> None:
    results = [result("a", (SURE, PASSING), outcome="passed")]
    unknown = describe_decision(results, {"session_noise": None}, {})
    assert unknown.proof == (
        "1 budget was judged with confidence: a build exactly at its limit passes in at most 1 % of runs. Noise "
        "between sessions is not known and not part of that.",
        "1 budget was compared with the limit directly.",
    )
    known = describe_decision(results, {"session_noise": 0.05}, {})
    assert "at most 5 % of runs. That includes a noise between sessions of 5 %." in known.proof[0]


def test_a_run_that_ended_early_says_so_whatever_else_failed_it() -> None:
    found = describe_decision([result()], {"findings": ["a typo"]}, {"exit_status": 1, "ended": "enough"})
    assert found.findings == ("the run ended early: enough", "a typo")


@pytest.mark.parametrize(
    ("phase", "reason"),
    [("call", "no"), ("setup", "in setup: no"), ("collect", "while collecting: no"), ("???", "no")],
)
def test_a_failure_says_in_which_phase_it_came(phase: str, reason: str) -> None:
    run = {"exit_status": 1, "failures": [["test_b.py::test_other", phase, "no"]]}
    assert [cause.reason for cause in describe_decision([], {}, run).causes] == [reason]


def test_a_long_message_of_a_failure_is_cut() -> None:
    found = describe_decision([], {}, {"failures": [["a", "call", "x" * 100_000]]})
    assert found.causes[0].reason == "x" * 500 + "…"
