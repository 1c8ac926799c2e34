"""JSON reports that are read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_llmperf.reports.compact.faults import WRONG_SHAPE, describe_wrong_shape, shorten
from pytest_llmperf.reports.compact.report import expand_report
from pytest_llmperf.reports.result import SCHEMA

_PARTS = {"session": Mapping, "metrics": Mapping, "tests": list}


class ReportError(Exception):
    """A report cannot be read; the message is one line that names the file, if it is one, and says why."""


def read_report(source: str | Path) -> dict[str, Any]:
    """A JSON report from a path, or from its text, in full: each test says all of itself.

    In the file what many tests have alike stands once. Inside of the tests what is empty may have been left out.

    Raises:
        ReportError: there is no such file, or it holds no report of the schema that this version reads.
    """
    is_text = isinstance(source, str) and source.lstrip().startswith("{")
    name = "the report" if is_text else str(source)
    try:
        report = json.loads(str(source) if is_text else Path(source).read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"{name}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{name}: it is not whole, or no JSON: {shorten(error)}") from error
    if reason := _why_no_report(report):
        raise ReportError(f"{name}: {reason}")
    try:
        return expand_report(report)
    except WRONG_SHAPE as error:
        reason = describe_wrong_shape(error)
        raise ReportError(f"{name}: {reason}") from error


def _why_no_report(report: Any) -> str:
    if not isinstance(report, Mapping) or "schema" not in report:
        return "it is no report of pytest-llmperf"
    if report["schema"] != SCHEMA:
        return f"it is a report of schema {shorten(report['schema'])}, and this version reads {SCHEMA}"
    wrong = [part for part, kind in _PARTS.items() if not isinstance(report.get(part), kind)]
    if wrong:
        return f"it has no {wrong[0]}"
    is_test = all(isinstance(test, Mapping) and {"nodeid", "measurement"} <= set(test) for test in report["tests"])
    return "" if is_test else "one of its tests has no nodeid or no measurement"
