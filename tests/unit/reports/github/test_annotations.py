"""Errors at the lines of tests, as GitHub Actions reads them: reports/github/annotations.py."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.reports.github.annotations import MOST_ERRORS, find_project, list_annotations
from tests.helpers.report_samples import BROKEN, PASSING, UNMEASURED, result

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.reports.result import TestResult

FAILING = (Status.FAIL,)


def failed(name: str, *verdicts: Verdict, outcome: str = "failed") -> TestResult:
    return replace(result(f"tests/test_it.py::{name}", verdicts, outcome=outcome), file="tests/test_it.py", line=7)


def test_a_broken_budget_is_an_error_at_the_line_of_its_test() -> None:
    assert list_annotations([failed("test_a", BROKEN, PASSING, UNMEASURED)], FAILING, (), ".") == [
        "::error file=tests/test_it.py,line=7,title=memory.peak FAIL::"
        "test_a: memory.peak 17.3 GiB > 16 GiB (margin -8.1 %25)"
    ]


def test_a_strict_run_names_budgets_without_a_verdict_too() -> None:
    _, second = list_annotations([failed("test_a", BROKEN, UNMEASURED)], (*FAILING, Status.NOT_MEASURED), (), ".")
    assert second.startswith("::error file=tests/test_it.py,line=7,title=latency.ttft_p95 NOT MEASURED::test_a: ")


@pytest.mark.parametrize("outcome", ["passed", "skipped"])
def test_a_test_that_did_not_fail_is_no_error(outcome: str) -> None:
    assert list_annotations([failed("test_a", BROKEN, outcome=outcome)], FAILING, (), ".") == []


def test_cases_are_one_error_with_the_worst_of_them() -> None:
    worse = replace(BROKEN, measured=18.5 * 2**30)
    (line,) = list_annotations([failed("test_a[x]", BROKEN), failed("test_a[y,z]", worse)], FAILING, (), ".")
    assert line.endswith("test_a: memory.peak 18.5 GiB > 16 GiB (margin -15.6 %25) (2 cases, the worst [y,z])")


def test_a_folder_stands_before_the_file_and_what_has_a_meaning_is_escaped() -> None:
    odd = replace(failed("test_a", replace(BROKEN, engine="a,b:c")), file="../odd,name:1%/test_it.py")
    (line,) = list_annotations([odd], FAILING, (), "packages/app")
    assert line.startswith(
        "::error file=packages/odd%2Cname%3A1%25/test_it.py,line=7,title=a%2Cb%3Ac%3A memory.peak FAIL::"
    )


def test_what_makes_the_run_fail_is_an_error_without_a_line() -> None:
    assert list_annotations([], FAILING, ["llmperf.toml: no test matches\n100 %"], ".") == [
        "::error title=llmperf::llmperf.toml: no test matches 100 %25"
    ]


def test_github_is_given_no_more_than_it_shows_and_one_line_counts_the_rest() -> None:
    lines = list_annotations([failed(f"test_{n}", BROKEN) for n in range(MOST_ERRORS + 5)], FAILING, (), ".")
    assert [line.split(" ")[0] for line in lines] == ["::error"] * MOST_ERRORS + ["::notice"]
    assert "5 more errors are not shown here" in lines[-1]


def test_a_test_without_a_place_is_named_without_one() -> None:
    (line,) = list_annotations([result("t.txt", (BROKEN,))], FAILING, (), ".")
    assert line.startswith("::error title=memory.peak FAIL::t.txt: ")


def test_the_folder_of_a_project_counts_from_its_repository(tmp_path: Path) -> None:
    project = tmp_path / "checkout" / "packages" / "app"
    project.mkdir(parents=True)
    workspace = {"GITHUB_WORKSPACE": str(tmp_path)}
    assert find_project(project, {}) == "."
    assert find_project(project, workspace) == "checkout/packages/app"
    (tmp_path / "checkout" / ".git").mkdir()
    assert find_project(project, workspace) == "packages/app"
    assert find_project(tmp_path / "checkout", workspace) == "."
