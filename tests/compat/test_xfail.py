"""xfail: a known regression is written down as such, and terminal and JUnit agree on it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

if TYPE_CHECKING:
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


UNMEASURED = """
from pytest_llmperf import BudgetExceeded, BudgetFailure, NoVerdict

@pytest.mark.xfail(strict=True, raises=BudgetExceeded)
@pytest.mark.memory_budget(kv_cache="1 GiB")
def test_unmeasured(llm_client):
    pass

@pytest.mark.xfail(strict=True, raises=BudgetExceeded)
@pytest.mark.memory_budget(peak="1 MiB", kv_cache="1 GiB")
def test_beyond_and_unmeasured(llm_client):
    pass

@pytest.mark.xfail(strict=True, raises=NoVerdict)
@pytest.mark.memory_budget(peak="1 MiB", kv_cache="1 GiB")
def test_unmeasured_and_beyond(llm_client):
    pass

@pytest.mark.xfail(raises=NoVerdict)
@pytest.mark.memory_budget(kv_cache="1 GiB")
def test_known_to_be_unmeasured(llm_client):
    pass

@pytest.mark.xfail(strict=True, raises=BudgetFailure)
@pytest.mark.memory_budget(peak="1 MiB", kv_cache="1 GiB")
def test_either_is_known(llm_client):
    pass
"""


@pytest.fixture
def _wide(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # the summary is not cut, whatever the processor is called


@pytest.mark.usefixtures("_wide")
def test_a_known_regression_hides_no_budget_without_a_verdict(runs: Runs, workers: tuple[str, ...]) -> None:
    result = runs(UNMEASURED, "--llmperf-strict", "-rxfX", *workers)
    result.assert_outcomes(failed=3, xfailed=2)
    result.stdout.fnmatch_lines_random(
        [
            "FAILED *::test_unmeasured - NoVerdict: memory.kv_cache NOT MEASURED: *",
            "FAILED *::test_beyond_and_unmeasured - BudgetFailure: memory.peak *; memory.kv_cache NOT MEASURED: *",
            "FAILED *::test_unmeasured_and_beyond - BudgetFailure: memory.peak *; memory.kv_cache NOT MEASURED: *",
            "XFAIL *::test_known_to_be_unmeasured*",
            "XFAIL *::test_either_is_known*",
        ]
    )


@pytest.mark.usefixtures("_wide")
def test_without_strict_a_budget_without_a_verdict_passes_its_test(runs: Runs, workers: tuple[str, ...]) -> None:
    result = runs(UNMEASURED, "-rxfX", *workers)
    result.assert_outcomes(failed=2, xfailed=2, xpassed=1)
    result.stdout.fnmatch_lines_random(
        [
            "*[[]XPASS(strict)[]]*",
            "XFAIL *::test_beyond_and_unmeasured*",
            "FAILED *::test_unmeasured_and_beyond - BudgetExceeded: memory.peak *",
            "XPASS *::test_known_to_be_unmeasured*",
            "XFAIL *::test_either_is_known*",
        ]
    )
