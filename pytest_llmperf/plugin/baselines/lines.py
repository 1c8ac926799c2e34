"""What the summary says about baselines: what the run was compared with, and what changed without a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.comparison.history import SIDES
from pytest_llmperf.budgets.comparison.holm import find_broken
from pytest_llmperf.budgets.comparison.session_noise import find_center
from pytest_llmperf.budgets.interval import Confidence
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.units import format_change
from pytest_llmperf.plugin.baselines.differences import describe_run, list_notes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.plugin.baselines.stored_past import PastRuns
    from pytest_llmperf.reports.result import TestResult

_MOST_CHANGES = 20


def list_comparisons(results: Sequence[TestResult], session: Mapping[str, Any], runs: PastRuns) -> list[str]:
    """A line for each engine whose tests were compared: with how many runs, and in what the newest of them differs."""
    lines: dict[str, None] = {}
    for result in results:
        if not any(verdict.relative and verdict.baseline is not None for verdict in result.verdicts):
            continue
        newest, count = runs.find_newest(_as_test(result))
        if newest is None:
            continue
        engine = result.measurement.get("engine") or {}
        notes = list_notes(engine, session, newest)
        differs = f"; differs: {', '.join(notes)}" if notes else ""
        label = f" of {engine['label']}" if engine.get("label") else ""
        counted = "1 run" if count == 1 else f"{count} runs"
        lines[f"baseline {runs.name}{label}: {counted}, the newest of {describe_run(newest)}{differs}"] = None
    return list(lines)


def list_broken_together(results: Sequence[TestResult]) -> list[str]:
    """A line for each comparison that is broken only by Holm's correction: once others are, it needs to be less sure.

    There is none unless another comparison is broken already, so that none of them changes the outcome of the run.
    """
    compared = [(result, v) for result in results for v in result.verdicts if v.relative and v.p_value is not None]
    error = Confidence().error / SIDES
    broken = find_broken([verdict.p_value or 0.0 for _, verdict in compared], error, len(compared))
    also = [compared[place] for place in broken if compared[place][1].status is Status.INCONCLUSIVE]
    return [
        f"broken too, given what else is (Holm): {result.nodeid}: {verdict.title} {verdict.change_text} against "
        f"{verdict.limit_text}"
        for result, verdict in also
    ]


def list_changes(results: Sequence[TestResult], runs: PastRuns) -> list[str]:
    """A line for each test with what it limits with a unit: how it changed against the runs. These are no verdicts."""
    lines = [f"against {runs.name}: {nodeid}: {', '.join(changes)}" for nodeid, changes in _find_changes(results, runs)]
    more = len(lines) - _MOST_CHANGES
    return lines if more <= 0 else [*lines[:_MOST_CHANGES], f"against {runs.name}: {more} more tests"]


def _find_changes(results: Sequence[TestResult], runs: PastRuns) -> Iterator[tuple[str, list[str]]]:
    for result in results:
        limited = {v.name for v in result.verdicts if v.relative}
        changes, why = [], ""
        for verdict in result.verdicts:
            if verdict.measured is None or verdict.name in limited:
                continue
            past = runs.find(_as_test(result), verdict.name, verdict.engine)
            center = find_center([one.value for one in past.values]) if past.values else 0.0
            if center > 0:
                count = "1 run" if len(past.values) == 1 else f"{len(past.values)} runs"
                changes.append(f"{verdict.title} {format_change(verdict.measured / center - 1)} ({count})")
            why = why or past.why_none
        if changes or why:
            yield result.nodeid, changes or [why]


def _as_test(result: TestResult) -> dict[str, Any]:
    return {"nodeid": result.nodeid, "measurement": result.measurement}
