"""Which runs are stored, and what is said of those that are not."""

from __future__ import annotations

import pytest

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.plugin.baselines.asked import runs_for_pull_request
from pytest_llmperf.plugin.baselines.saving import why_not_stored
from pytest_llmperf.reports.result import TestResult
from tests.helpers.verdicts import verdict

ANYWAY = "(--llmperf-save-anyway stores it all the same)"


def why(*statuses: Status, early: str = "", failed: int = 0, anyway: bool = False, measured: bool = True) -> str:
    verdicts = tuple(
        verdict(status, "memory.peak", "memory.peak", 1.0, "1 B", None, "", "no sample") for status in statuses
    )
    results = [TestResult("test_it.py::test_a", verdicts, {"readings": {}} if measured else {}, "passed")]
    return why_not_stored(results, ended_early=early, failed=failed, anyway=anyway)


@pytest.mark.parametrize("status", [Status.PASS, Status.INCONCLUSIVE, Status.NO_BASELINE])
def test_a_run_that_passed_is_stored(status: Status) -> None:
    assert why(status) == ""


@pytest.mark.parametrize("status", [Status.INVALID, Status.NOT_MEASURED, Status.NO_BUDGET])
def test_a_budget_without_a_verdict_keeps_a_run_out(status: Status) -> None:
    assert why(Status.PASS, status) == f"test_it.py::test_a: memory.peak {status}: no sample {ANYWAY}"
    assert why(Status.PASS, status, anyway=True) == ""


@pytest.mark.parametrize(("failed", "text"), [(1, "1 test"), (3, "3 tests")])
def test_a_failed_run_is_stored_only_if_asked_again(failed: int, text: str) -> None:
    assert why(Status.PASS, failed=failed) == f"{text} failed {ANYWAY}"
    assert why(Status.PASS, failed=failed, anyway=True) == ""


@pytest.mark.parametrize("anyway", [False, True])
def test_half_a_run_and_nothing_are_never_stored(anyway: bool) -> None:
    early = "stopping after 1 failures"
    assert why(Status.PASS, early=early, failed=1, anyway=anyway) == f"the run ended early: {early}"
    assert why(measured=False, anyway=anyway) == "no test was measured"


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, False),
        ({"GITHUB_EVENT_NAME": "pull_request"}, True),
        ({"GITHUB_EVENT_NAME": "push"}, False),
        ({"CI_MERGE_REQUEST_IID": "7"}, True),
        ({"TRAVIS_PULL_REQUEST": "false"}, False),
        ({"BUILDKITE_PULL_REQUEST": "12"}, True),
        ({"CHANGE_ID": ""}, False),
    ],
)
def test_pull_requests_are_told_by_what_ci_systems_set(environ: dict[str, str], found: bool) -> None:
    assert runs_for_pull_request(environ) is found
