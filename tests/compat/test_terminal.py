"""The terminal: every --tb, CI=true, and parts of pytest switched off, also beside workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.compat.conftest import NEWEST

if TYPE_CHECKING:
    from tests.conftest import Runs

SOURCE = """
@pytest.mark.memory_budget(peak="2 GiB")
def test_inside(llm_client):
    llm_client.generate("x", max_tokens=2)

@pytest.mark.memory_budget(peak="1 MiB")
def test_beyond(llm_client):
    llm_client.generate("x", max_tokens=2)
"""
ROW = "memory.peak * 1 MiB * FAIL"


@pytest.mark.parametrize(
    "style",
    [
        *("auto", "long", "short", "native"),
        pytest.param("line", marks=pytest.mark.skipif(not NEWEST, reason="pytest 8 shows one line and no more")),
    ],
)
def test_the_table_is_shown_with_every_traceback_style(runs: Runs, style: str) -> None:
    result = runs(SOURCE, f"--tb={style}", "--show-capture=no")
    result.stdout.fnmatch_lines(["*- llmperf -*", ROW])
    result.stdout.fnmatch_lines(["FAILED test_it.py::test_beyond - BudgetExceeded: *"])


def test_without_tracebacks_the_summary_still_says_what_was_broken(runs: Runs) -> None:
    result = runs(SOURCE, "--tb=no")
    result.stdout.no_fnmatch_line(ROW)
    result.stdout.fnmatch_lines(["*test_beyond * memory.peak *FAIL", "FAILED *test_beyond - BudgetExceeded: *"])


def test_in_ci_each_failure_is_one_line_of_the_summary(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("COLUMNS", "60")
    result = runs(SOURCE, *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    start = next(n for n, line in enumerate(result.outlines) if "short test summary info" in line)
    # The end of an engine that workers share may be told of last.
    [line] = [line for line in result.outlines[start + 1 :] if not line.startswith(("=", "llmperf: "))]
    assert line.startswith("FAILED test_it.py::test_beyond - BudgetExceeded: memory.peak ")
    assert " on CPU " in line


@pytest.mark.skipif(not NEWEST, reason="workers take their time: on the newest pytest only")
@pytest.mark.parametrize(
    "options", ["-p no:terminal", "-p no:cacheprovider -s", "-p no:capture -p no:logging -W error"]
)
def test_with_workers_too_the_verdicts_do_not_depend_on_what_is_switched_off(
    runs: Runs, pytester: pytest.Pytester, options: str
) -> None:
    pytest.importorskip("xdist")
    result = runs(SOURCE, *options.split(), "-n1", "--llmperf-report=out.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    report = (pytester.path / "out.json").read_text(encoding="utf-8")
    assert [report.count(f'"status":"{status}"') for status in ("PASS", "FAIL")] == [1, 1]
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
