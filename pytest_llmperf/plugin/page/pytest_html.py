"""Shows what the HTML report shows on the page of pytest-html too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_llmperf.reports.result import TestResult

    Describe = Callable[[], tuple[Sequence[TestResult], Mapping[str, Any]]]


class PytestHtmlBridge:
    """Adds a summary at the top of the page and the budgets of each test to its row.

    ``describe`` gives the results so far and the facts of the run.
    """

    def __init__(self, describe: Describe) -> None:
        self._describe = describe

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Adds the budgets of a test to its report before pytest-html reads it."""
        wire: dict[str, Any] | None = getattr(report, "llmperf", None)
        if wire is None:
            return
        from pytest_llmperf.reports.page.fragments import render_test
        from pytest_llmperf.reports.result import from_wire

        if content := render_test(from_wire(wire).with_outcome(report.outcome, report.duration)):
            extra = {"name": "llmperf", "format_type": "html", "content": content, "mime_type": None, "extension": None}
            report.extras = [*getattr(report, "extras", ()), extra]  # type: ignore[attr-defined]

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        """Adds what decided the run, and the engines side by side."""
        results, session = self._describe()
        if not results:
            return
        from pytest_llmperf.reports.page.fragments import render_summary

        prefix.append(render_summary(results, session))
