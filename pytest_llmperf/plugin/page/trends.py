"""What the store knows of the metrics that a run limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.baselines.errors import StoreError
from pytest_llmperf.baselines.history import read_history
from pytest_llmperf.baselines.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_llmperf.reports.result import TestResult

RUNS = 40
"""The newest runs that a trend is of."""

FEWEST_RUNS = 3
"""Fewer do not show a trend."""


def read_trends(results: Sequence[TestResult], store: Path, name: str) -> list[dict[str, Any]]:
    """The history of each limited metric of each test, as plain data; those whose level changed come first.

    Args:
        results: of the run.
        store: its folder; without one there is no history.
        name: of the stored runs.
    """
    limited = {(result.nodeid, verdict.name) for result in results for verdict in result.verdicts if verdict.name}
    if not limited or not store.is_dir():
        return []
    found = []
    opened = Store(store)
    for metric in sorted({metric for _, metric in limited}):
        try:
            series = read_history(opened, name, metric, last=RUNS)
        except StoreError:  # there are no runs of this name, or none has this metric
            continue
        found += [one for one in series if (one.test, metric) in limited and len(one.points) >= FEWEST_RUNS]
    found.sort(key=lambda one: (not one.changes, one.test, one.reading))
    return [one.as_plain() for one in found]
