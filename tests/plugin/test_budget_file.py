"""llmperf.toml: budgets for the people who run CI and do not edit tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

FILE = """
[[budget]]
tests = "*::test_from_*"
memory.peak = "1 MiB"
memory.growth = "1 GiB"

[[budget]]
tests = "test_it.py::test_other*"
engine = "vllm"
memory.peak = "1 MiB"
"""
SOURCE = """
def test_from_file(llm_engine):
    pass

@pytest.mark.memory_budget(peak="2 GiB")
def test_from_file_and_marker(llm_engine):
    pass

def test_other_engine(llm_engine):
    pass

def test_unlimited(llm_engine):
    pass
"""


@pytest.fixture(autouse=True)
def budget_file(pytester: pytest.Pytester) -> None:
    (pytester.path / "llmperf.toml").write_text(FILE, encoding="utf-8")


def test_its_budgets_stand_on_the_tests_they_name_and_a_marker_wins_key_by_key(runs: Runs) -> None:
    result = runs(SOURCE)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["FAILED test_it.py::test_from_file - BudgetExceeded: memory.peak * > 1 MiB *"])
    result.stdout.fnmatch_lines(["budgets: 3 PASS, 1 FAIL, 1 NO BUDGET"])


def test_it_lies_beside_the_configuration_wherever_pytest_is_started(
    runs: Runs, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\n")
    runs.write(SOURCE)
    folder = pytester.mkdir("elsewhere")
    monkeypatch.chdir(folder)
    result = pytester.runpytest_inprocess("--llm-engine=simulated", "..")
    result.assert_outcomes(passed=3, failed=1)
