"""Verdicts as all reports show them: in which order, with which limit, for which reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.reports.result import sort_tightest_first
from pytest_llmperf.reports.text import NO_VALUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.reports.result import TestResult

SEVERITY = (
    Status.FAIL,
    Status.INVALID,
    Status.NOT_MEASURED,
    Status.NO_BUDGET,
    Status.NO_BASELINE,
    Status.INCONCLUSIVE,
    Status.PASS,
)
"""Every status, the worst first."""

COST = "engine time"
"""The head of the column of ``Verdict.cost_text``."""


def sort_worst_first(pairs: Sequence[tuple[TestResult, Verdict]]) -> list[tuple[TestResult, Verdict]]:
    """Sorts by severity of the verdict, and among equals by the room that is left."""
    return sorted(sort_tightest_first(pairs), key=lambda pair: SEVERITY.index(pair[1].status))


def format_limit(verdict: Verdict) -> str:
    """``≤ 16 GiB``, ``≥ -5 %``: the limit as the user wrote it, with its direction; ``–`` without one."""
    if verdict.limit is None and not verdict.relative:
        return NO_VALUE
    sign = "≥" if verdict.better == "higher" else "≤"
    return f"{sign} {verdict.limit_text}"


def format_reason(verdict: Verdict) -> str:
    """Why there is no PASS, in one line."""
    sentence = verdict.sentence()
    if verdict.status is Status.FAIL and verdict.measured is not None and verdict.reason:
        return f"{sentence}: {verdict.reason}"
    return sentence.removesuffix(": ")
