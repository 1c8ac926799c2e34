"""Adds a format of report: ``--llmperf-report=budgets.csv`` writes a line for each budget, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf import TestResult

COLUMNS = ("test", "budget", "verdict", "limit", "measured", "unit", "reason")


@pytest.hookimpl(optionalhook=True)
def pytest_llmperf_reports() -> dict[str, Any]:
    return {".csv": budgets_as_csv}


def budgets_as_csv(results: Sequence[TestResult], session: Mapping[str, Any]) -> str:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    for result in results:
        for v in result.verdicts:
            rows.writerow((result.nodeid, v.name, v.status, v.limit, v.measured, v.quantity.base, v.reason))
    return text.getvalue()
