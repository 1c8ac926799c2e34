"""Runs a suite several times with fresh engines, tells how each run went, and prints the audit of its budgets."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pytest_llmperf.baselines.calibration.audit import audit_budgets
from pytest_llmperf.baselines.calibration.audit_text import render_audit
from pytest_llmperf.baselines.stored_run import failed_by_itself
from pytest_llmperf.plugin.calibration.suite_run import SuiteRun, run_suite
from pytest_llmperf.reports.text import to_one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FLAG = "--llmperf-calibrate"
NAME = "calibration"
_OWN = (f"{FLAG}=0", f"--llmperf-save={NAME}", "--llmperf-save-anyway", "--llmperf-keep-engine=0")
_PASSED, _TESTS_FAILED, _INTERRUPTED, _NO_TESTS = 0, 1, 2, 5
_LAST_LINES = 30
_MOST_FAILURES = 5


class Calibration:
    """Several runs of one command line.

    Args:
        runs: how many, at least 3.
        arguments: those of pytest, with or without ``--llmperf-calibrate``.
        folder: where pytest was called.
        say: prints a line.
        width: of the terminal, in columns.
    """

    def __init__(
        self, runs: int, arguments: Sequence[str], folder: Path, say: Callable[[str], None], width: int
    ) -> None:
        self._runs = runs
        self._arguments = drop_flag(arguments)
        self._folder = folder
        self._say = say
        self._width = width
        self._done: list[SuiteRun] = []
        self._reports: list[Mapping[str, Any]] = []
        self._failed = False

    def run(self) -> int:
        """Runs the suite so often and prints the audit.

        Returns:
            0, 1 if a test failed by other than a budget, or the status of a run that could not be used. That a budget
            failed in a run is what the audit is about.
        """
        self._say(f"llmperf: {self._runs} runs of: pytest {shlex.join(self._arguments)}")
        with tempfile.TemporaryDirectory(prefix="llmperf-calibration-") as folder:
            for number in range(1, self._runs + 1):
                run, report = self._run_once(Path(folder))
                self._done.append(run)
                self._say(f"llmperf: run {number} of {self._runs}: {self._describe(run, report)}")
                if report is None or run.status not in (_PASSED, _TESTS_FAILED):
                    return self._give_up(number, run)
                self._reports.append(report)
                self._failed |= run.status == _TESTS_FAILED and not _failed_by_budgets_only(report)
                self._tell_failures(run)
        for line in render_audit(audit_budgets(self._reports), self._width):
            self._say(line)
        return _TESTS_FAILED if self._failed else _PASSED

    def _run_once(self, folder: Path) -> tuple[SuiteRun, Mapping[str, Any] | None]:
        from pytest_llmperf.reports.report_file import ReportError, read_report

        path = folder / "report.json"
        path.unlink(missing_ok=True)
        run = run_suite([*_OWN, f"--llmperf-report={path}", *self._arguments], self._folder)
        try:
            report = read_report(path) if path.exists() else None
        except ReportError:
            report = None
        return run, report if report and report["tests"] else None

    def _describe(self, run: SuiteRun, report: Mapping[str, Any] | None) -> str:
        left = round(fmean(one.seconds for one in self._done) * (self._runs - len(self._done)))
        ended = run.summary or f"took {run.seconds:.0f} s"
        if run.status:
            ended = f"ended with status {run.status}: {ended}"
        if report is None or run.status not in (_PASSED, _TESTS_FAILED):
            return ended
        meaning = _explain_failures(report) if run.status else ""
        return f"{ended}{meaning}{f'; about {left} s left' if left else ''}"

    def _tell_failures(self, run: SuiteRun) -> None:
        lines = [to_one_line(line) for line in run.output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
        for line in lines[:_MOST_FAILURES]:
            self._say(f"  {line}")
        if len(lines) > _MOST_FAILURES:
            self._say(f"  and {len(lines) - _MOST_FAILURES} more")

    def _give_up(self, number: int, run: SuiteRun) -> int:
        for line in run.output.splitlines()[-_LAST_LINES:]:
            self._say(f"  {to_one_line(line)}")
        why = (
            "it measured nothing"
            if run.status in (_PASSED, _TESTS_FAILED, _NO_TESTS)
            else "it did not end as it should"
        )
        self._say(
            f"llmperf: no calibration, because run {number} cannot be used: {why}; "
            "the last lines of its output stand above"
        )
        return run.status if run.status > 0 else _TESTS_FAILED


def drop_flag(arguments: Sequence[str]) -> list[str]:
    """The arguments of pytest without ``--llmperf-calibrate`` and its value."""
    kept, is_value = [], False
    for argument in arguments:
        if is_value:
            is_value = False
        elif argument == FLAG:
            is_value = True
        elif not argument.startswith(f"{FLAG}="):
            kept.append(argument)
    return kept


def _explain_failures(report: Mapping[str, Any]) -> str:
    """What it means for the result that a run ended with failed tests."""
    failed = _list_failed_tests(report)
    if failed:
        return f"; {len(failed)} failed by other than a budget, so what they measured may not be that of a good build"
    if any(verdict["status"] != "PASS" for test in report["tests"] for verdict in test["verdicts"]):
        return "; budgets that failed are counted as they were measured"
    return "; what failed was not measured"


def _failed_by_budgets_only(report: Mapping[str, Any]) -> bool:
    has_broken = any(verdict["status"] != "PASS" for test in report["tests"] for verdict in test["verdicts"])
    return has_broken and not _list_failed_tests(report)


def _list_failed_tests(report: Mapping[str, Any]) -> list[str]:
    """The tests that were measured and failed, but not by a budget."""
    return [test["nodeid"] for test in report["tests"] if failed_by_itself(test)]
