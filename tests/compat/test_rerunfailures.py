"""pytest-rerunfailures: a broken budget is retried when asked, each attempt is measured afresh, the last one counts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from tests.conftest import Runs

pytest.importorskip("pytest_rerunfailures")
RERUNS = ("-p", "rerunfailures")

OVER = """
@pytest.mark.memory_budget(peak="1 MiB")
def test_over(llm_client):
    llm_client.generate("x", max_tokens=2)
"""


@pytest.mark.parametrize(
    ("options", "reruns"),
    [
        ((), 0),
        (("--reruns=2",), 2),
        (("--reruns=2", "--only-rerun=BudgetExceeded"), 2),
        (("--reruns=2", "--only-rerun=ZeroDivisionError"), 0),
        (("--reruns=2", "-n2"), 2),
    ],
)
def test_a_broken_budget_stays_broken(
    runs: Runs, pytester: pytest.Pytester, options: tuple[str, ...], reruns: int
) -> None:
    result = runs.in_subprocess(OVER, *RERUNS, *options, "--llmperf-report=out.json", "--junit-xml=out.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    outcomes = result.parseoutcomes()
    assert (outcomes["failed"], outcomes.get("rerun", 0)) == (1, reruns)
    [test] = read_report(pytester.path / "out.json")["tests"]
    assert (test["outcome"], test["measurement"]["attempt"]) == ("failed", reruns + 1)
    attempts = ElementTree.parse(pytester.path / "out.xml").findall(".//testcase")
    assert [len(case.findall(".//property[@name='llmperf.memory.peak.verdict']")) for case in attempts] == [1] * (
        reruns + 1
    )
    result.stdout.fnmatch_lines(["budgets: 1 FAIL"])


def test_requests_of_an_earlier_attempt_do_not_count(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs.in_subprocess(
        """
        attempts = []

        @pytest.mark.latency_budget(e2e_max="1 min")
        def test_flaky(llm_client):
            attempts.append(1)
            llm_client.generate("x", max_tokens=2)
            assert len(attempts) == 3
        """,
        *RERUNS,
        "--reruns=2",
        "--llmperf-report=out.json",
    )
    assert result.ret == 0
    [test] = read_report(pytester.path / "out.json")["tests"]
    assert test["outcome"] == "passed"
    assert test["measurement"]["requests"]["total"] == 1
    assert test["measurement"]["attempt"] == 3


SLOW_AT_FIRST = """
import os
attempts = []

@pytest.mark.latency_budget(e2e_max="+400 %")
def test_slow_at_first(llm_client):
    attempts.append(1)
    is_slow = len(attempts) == 1 and "LLMPERF_TEST_SLOW" in os.environ
    llm_client.generate("x", max_tokens=3, simulate={"ttft": "3 s" if is_slow else "200 ms"})
"""


def test_the_last_attempt_is_compared_with_stored_runs_and_stored_in_workers_too(
    runs: Runs, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xdist")
    monkeypatch.delenv("GITHUB_EVENT_NAME", raising=False)
    options = (*RERUNS, "--llmperf-save", "--llmperf-session-noise=2%", "--llmperf-report=out.json")
    runs.in_subprocess(SLOW_AT_FIRST, *options).assert_outcomes(passed=1)
    monkeypatch.setenv("LLMPERF_TEST_SLOW", "1")
    result = runs.in_subprocess(SLOW_AT_FIRST, *options, "--llmperf-strict", "--reruns=1", "-n2")
    assert result.ret == 0
    assert (result.parseoutcomes()["passed"], result.parseoutcomes()["rerun"]) == (1, 1)
    result.stdout.fnmatch_lines(["budgets: 1 PASS", "baseline main of *: 1 run, the newest of *", "stored as main: *"])
    report = read_report(pytester.path / "out.json")
    [test] = report["tests"]
    [verdict] = test["verdicts"]
    assert (test["measurement"]["attempt"], test.get("failed_by", "")) == (2, "")
    assert (verdict["status"], verdict["interval"]["units"]) == ("PASS", 1)
    assert [line.partition(":")[0] for line in report["session"]["baselines"]][-1] == "stored as main"
    stored = [read_report(path) for path in (pytester.path / ".llmperf").glob("*/*/*.json")]
    assert sorted(one["tests"][0]["measurement"]["attempt"] for one in stored) == [1, 2]


def test_an_engine_that_cannot_start_is_not_started_again_by_a_rerun(runs: Runs) -> None:
    result = runs.in_subprocess(OVER, *RERUNS, "--reruns=2", crash_on_start="true")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.stdout.str().count("simulated: loading") == 1
