"""Verdicts written out by hand."""

from __future__ import annotations

from typing import Any

from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.metrics.table import METRICS


def verdict(status: Status, name: str, metric: str, *fields: Any, **more: Any) -> Verdict:
    """A verdict on a metric of the table, with its quantity and direction; the other fields as :class:`Verdict` has."""
    row = METRICS[metric]
    names = ("limit", "limit_text", "measured", "how", "reason", "engine")
    return Verdict(status, name, metric, row.quantity, row.better, **dict(zip(names, fields, strict=False)), **more)
