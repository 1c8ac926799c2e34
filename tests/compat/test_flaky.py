"""flaky: a test over its budget is run again, and fails in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

pytest.importorskip("flaky")


def test_a_broken_budget_stays_broken(runs: Runs) -> None:
    # A process of its own: flaky keeps its report in its class, and every later run in this process would show it.
    result = runs.in_subprocess(
        """
        from flaky import flaky

        runs = []

        @flaky(max_runs=3)
        @pytest.mark.memory_budget(peak="1 MiB")
        def test_over(llm_client):
            runs.append(1)
            llm_client.generate("x", max_tokens=2)

        def test_ran_as_often_as_asked():
            assert len(runs) == 3
        """
    )
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAILED test_it.py::test_over - BudgetExceeded: memory peak *"])
    result.stdout.fnmatch_lines(["budgets: 1 FAIL"])
