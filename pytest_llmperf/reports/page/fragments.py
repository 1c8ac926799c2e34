"""Parts of the page for the pages of others, such as that of pytest-html: HTML with its own style, and no script."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.page.decided import Cause, describe_decision
from pytest_llmperf.reports.page.drawings import draw_test
from pytest_llmperf.reports.page.entries import make_entry
from pytest_llmperf.reports.page.sides import find_side_by_side
from pytest_llmperf.reports.page.states import list_verdicts
from pytest_llmperf.reports.page.style import make_fragment_style
from pytest_llmperf.reports.page.templates import mark_safe, open_templates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.reports.result import TestResult


def render_summary(results: Sequence[TestResult], session: Mapping[str, Any]) -> str:
    """What decided the run, and the engines side by side; ``session`` as for the page."""
    run: Mapping[str, Any] = session.get("run", {})
    decision = describe_decision(results, session, run)
    return (
        open_templates()
        .get_template("summary.html")
        .render(
            style=mark_safe(make_fragment_style()),
            decision=replace(decision, causes=_unlink(decision.causes), open=_unlink(decision.open)),
            matrix=find_side_by_side(results, run.get("engines", ())),
        )
    )


def _unlink(causes: Sequence[Cause]) -> tuple[Cause, ...]:
    """The same without links, whose aims the other page does not have."""
    return tuple(replace(cause, anchor="") for cause in causes)


def render_test(result: TestResult) -> str:
    """The budgets of one test and the plots that they are about; empty without any."""
    if not result.verdicts:
        return ""
    plots = mark_safe(draw_test(make_entry(result), whole=False))
    return open_templates().get_template("test.html").render(verdicts=list_verdicts(result), plots=plots)
