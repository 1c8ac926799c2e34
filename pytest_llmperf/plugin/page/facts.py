"""The facts of a run that only the HTML report shows, as plain data."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.plugin.page.words import list_words_for_one_test
from pytest_llmperf.system.masking import mask_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class PageFacts:
    """Collects the failures of a run that no budget explains; registered in the process that writes the reports.

    ``failing`` are the statuses of budgets that fail a test of this run, ``engines`` the labels of its engines.
    It also keeps why the run ended early.
    """

    def __init__(self, config: pytest.Config, failing: Sequence[Status], engines: Sequence[str]) -> None:
        self._config = config
        self._engines = engines
        self._failing = failing
        self._failures: dict[tuple[str, str], str] = {}
        self._ended = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps a failure. What a rerun of the test does takes the place of what it did before."""
        key = (report.nodeid, str(report.when))
        self._failures.pop(key, None)
        if report.failed and getattr(report, "llmperf", {}).get("failed_by") != "budget":
            self._failures[key] = describe_failure(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keeps a failure of the collection."""
        if report.failed:
            self._failures[report.nodeid, "collect"] = describe_failure(report)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Keeps why the run ends: Ctrl+C, or what ``pytest.exit`` was given."""
        self._ended = " ".join(str(excinfo.value).split()) or "it was interrupted"

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Keeps why the run ends."""
        self._ended = f"INTERNALERROR: {' '.join(excinfo.exconly().split())}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Keeps why tests were left out, as by ``-x``."""
        self._ended = self._ended or str(session.shouldfail or session.shouldstop or "")

    def describe(self, exit_status: int | None, trends: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What ``describe_decision`` and ``format_command`` of the page need.

        Args:
            exit_status: of pytest; None if it is not known.
            trends: the history of limited metrics.
        """
        return {
            "exit_status": exit_status,
            "ended": self._ended,
            "failing": [status.value for status in self._failing],
            "failures": [[nodeid, phase, message] for (nodeid, phase), message in self._failures.items()],
            "trends": list(trends),
            "engines": list(self._engines),
            **describe_command(self._config),
        }


def describe_command(config: pytest.Config) -> dict[str, Any]:
    """What ``format_command`` of the page needs: ``options``, ``added_options``, ``root`` and ``groups``."""
    words = list_words_for_one_test(list(map(str, config.invocation_params.args)), config.option.file_or_dir)
    added = list_words_for_one_test(shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), config.option.file_or_dir)
    return {
        "added_options": mask_words(added),
        "options": mask_words(words),
        "root": Path(os.path.relpath(config.rootpath, config.invocation_params.dir)).as_posix(),
        "groups": config.getoption("dist", "no") == "loadgroup",
    }


def list_failing(*, strict: bool, inconclusive: bool, is_first: bool) -> list[Status]:
    """The statuses that fail a test.

    Args:
        strict: whether a budget without a verdict does.
        inconclusive: whether INCONCLUSIVE does.
        is_first: whether the run may be the first of those that it is compared with, so that it needs no baseline.
    """
    found = [Status.FAIL]
    found += [status for status in Status if strict and status.without_verdict]
    found += [Status.INCONCLUSIVE] if inconclusive else []
    return [status for status in found if not (is_first and status is Status.NO_BASELINE)]


def describe_failure(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test failed, in one line: the first of the message of its exception."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longrepr or "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "it failed"
    return lines[0] if crash is not None else lines[-1].removeprefix("E ").lstrip()
