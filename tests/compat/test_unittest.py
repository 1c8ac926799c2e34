"""unittest.TestCase: methods and classes carry budgets as functions do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Runs


def test_a_broken_budget_fails_a_method(runs: Runs, workers: tuple[str, ...]) -> None:
    result = runs(
        """
        import unittest

        @pytest.mark.memory_budget(peak="1 MiB")
        class TestApp(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def client(self, llm_client):
                self.client = llm_client

            def test_over(self):
                assert self.client.generate("x", max_tokens=2).text

            @pytest.mark.memory_budget(peak="2 GiB")
            def test_inside(self):
                assert self.client.generate("x", max_tokens=2).text
        """,
        "--llmperf-rounds=2",
        *workers,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["requests * 2 sent, 0 failed*"])
    result.stdout.fnmatch_lines(["FAILED test_it.py::TestApp::test_over - BudgetExceeded: memory.peak * > 1 MiB *"])
