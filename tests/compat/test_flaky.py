"""flaky: a test over its budget is run again, and fails in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from tests.conftest import Runs

pytest.importorskip("flaky")


def test_a_broken_budget_stays_broken(runs: Runs, pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    # A process of its own: flaky keeps its report in its class, and every later run in this process would show it.
    result = runs.in_subprocess(
        """
        from flaky import flaky

        @flaky(max_runs=3)
        @pytest.mark.memory_budget(peak="1 MiB")
        def test_over(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        *("-p", "flaky"),
        "--llmperf-report=out.json",
        *workers,
    )
    result.assert_outcomes(failed=1)
    [test] = read_report(pytester.path / "out.json")["tests"]
    assert (test["outcome"], test["measurement"]["attempt"]) == ("failed", 3)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAILED test_it.py::test_over - BudgetExceeded: memory.peak *"])
    result.stdout.fnmatch_lines(["budgets: 1 FAIL"])
