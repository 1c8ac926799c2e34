"""pytest_llmperf_reports: a conftest file or a package adds a format of report."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.report_file import read_report
from tests.conftest import SIMULATED

if TYPE_CHECKING:
    from tests.conftest import Runs

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_report"
SOURCE = """
@pytest.mark.memory_budget(peak="2 GiB")
def test_inside(llm_client):
    llm_client.generate("x", max_tokens=2)
"""


@pytest.fixture(params=[(), ("-n1",)], ids=["one process", "workers"])
def workers(request: pytest.FixtureRequest) -> tuple[str, ...]:
    found: tuple[str, ...] = request.param
    return found


def test_the_example_writes_its_csv(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    for source in EXAMPLE.glob("*.py"):
        (pytester.path / source.name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    result = pytester.runpytest_subprocess(SIMULATED, "--llmperf-report=new/budgets.csv", *workers)
    result.assert_outcomes(passed=1)
    with (pytester.path / "new" / "budgets.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    assert [(row["test"], row["budget"], row["verdict"]) for row in rows] == [
        ("test_own_report.py::test_answers", "latency.e2e_max", "PASS"),
        ("test_own_report.py::test_answers", "memory.peak", "PASS"),
    ]
    assert float(rows[1]["measured"]) < float(rows[1]["limit"]) == 2**30
    result.stdout.fnmatch_lines(["report: */new/budgets.csv"])


def test_a_plugin_adds_a_format_as_well(runs: Runs, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(own="def pytest_llmperf_reports(): return {'.txt': lambda results, session: results[0].nodeid}")
    pytester.syspathinsert()
    runs(SOURCE, "-p", "own", "--llmperf-report=out.txt").assert_outcomes(passed=1)
    assert (pytester.path / "out.txt").read_text(encoding="utf-8") == "test_it.py::test_inside"


def test_a_suffix_in_capitals_works_like_one_in_small_letters(runs: Runs, pytester: pytest.Pytester) -> None:
    runs(SOURCE, "--llmperf-report=OUT.JSON").assert_outcomes(passed=1)
    assert read_report(pytester.path / "OUT.JSON")["tests"]


def test_an_unknown_suffix_is_refused_with_all_that_are_known(runs: Runs, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_llmperf_reports(): return {'.csv': lambda results, session: ''}")
    result = runs(SOURCE, "--llmperf-report=out.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: llmperf: --llmperf-report=out.yaml has no known suffix: write .json or .md or .html or .csv"]
    )


def test_a_suffix_that_is_taken_is_refused(runs: Runs, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_llmperf_reports(): return {'.md': lambda results, session: ''}")
    result = runs(SOURCE, "--llmperf-report=out.md")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: llmperf: pytest_llmperf_reports: .md has a format already"])


def test_a_report_that_raises_is_said_and_the_others_are_written(runs: Runs, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_llmperf_reports(): return {'.csv': lambda results, session: session['no such']}")
    older = pytester.path / "out.csv"
    older.write_text("of an earlier run", encoding="utf-8")
    result = runs(SOURCE, "--llmperf-report=out.csv", "--llmperf-report=out.md")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["report: */out.md", "the report */out.csv could not be written: KeyError: 'no such' (*conftest.py:1)"]
    )
    assert older.read_text(encoding="utf-8") == "of an earlier run"
    result.stdout.no_fnmatch_line("report: */out.csv")


def test_without_a_report_the_hook_is_not_called(runs: Runs, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_llmperf_reports(): raise RuntimeError('asked')")
    runs(SOURCE).assert_outcomes(passed=1)
