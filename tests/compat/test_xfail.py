"""xfail: a known regression is written down as such, and terminal and JUnit agree on it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs

SOURCE = """
from pytest_llmperf import BudgetExceeded

@pytest.mark.xfail
@pytest.mark.memory_budget(peak="1 MiB")
def test_expected(llm_client):
    pass

@pytest.mark.xfail(strict=True, raises=BudgetExceeded)
@pytest.mark.memory_budget(peak="1 MiB")
def test_expected_to_break_its_budget(llm_client):
    pass

@pytest.mark.xfail(raises=ZeroDivisionError)
@pytest.mark.memory_budget(peak="1 MiB")
def test_breaks_in_another_way(llm_client):
    pass

@pytest.mark.xfail(strict=True, raises=BudgetExceeded)
@pytest.mark.memory_budget(peak="2 GiB")
def test_holds_its_budget_again(llm_client):
    pass
"""


def test_terminal_and_junit_agree(runs: Runs, pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    result = runs(SOURCE, "--junit-xml=out.xml", "-rxfX", *workers)
    result.assert_outcomes(xfailed=2, failed=2)
    result.stdout.fnmatch_lines(["XFAIL *::test_expected_to_break_its_budget*"])
    result.stdout.fnmatch_lines(["FAILED *::test_breaks_in_another_way - BudgetExceeded: *"])
    result.stdout.fnmatch_lines(["FAILED *::test_holds_its_budget_again*"])
    found = {
        case.get("name"): [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        for case in ElementTree.parse(pytester.path / "out.xml").iter("testcase")
    }
    assert found == {
        "test_expected": ["skipped"],
        "test_expected_to_break_its_budget": ["skipped"],
        "test_breaks_in_another_way": ["failure"],
        "test_holds_its_budget_again": ["failure"],
    }
