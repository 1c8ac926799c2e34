"""pytest-memray: its limits are on the memory of pytest itself, ours on the engine's; a test may have both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from tests.conftest import Runs

pytest.importorskip("pytest_memray")


def test_a_test_with_both_fails_when_either_limit_is_broken(
    runs: Runs, pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    result = runs(
        """
        @pytest.mark.parametrize(
            "number",
            [
                pytest.param(0, marks=[pytest.mark.limit_memory("1 GB"), pytest.mark.memory_budget(peak="1 GiB")]),
                pytest.param(1, marks=[pytest.mark.limit_memory("1 GB"), pytest.mark.memory_budget(peak="1 MiB")]),
                pytest.param(2, marks=[pytest.mark.limit_memory("1 KB"), pytest.mark.memory_budget(peak="1 GiB")]),
            ],
        )
        def test_memory(llm_client, number):
            assert llm_client.generate("x" * 10_000, max_tokens=2).text
        """,
        *("-p", "memray"),
        "--memray",
        "--llmperf-report=out.json",
        *workers,
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "FAILED test_it.py::test_memory[[]1] - BudgetExceeded: memory.peak *",
            "* test_it.py::test_memory[[]2] - Test was limited to 1.0KiB *",
        ]
    )
    tests = read_report(pytester.path / "out.json")["tests"]
    found = {test["nodeid"][-2]: (test["outcome"], test["verdicts"][0]["status"]) for test in tests}
    assert found == {"0": ("passed", "PASS"), "1": ("failed", "FAIL"), "2": ("failed", "PASS")}
