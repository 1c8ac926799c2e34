"""The report for machines: ``--llmperf-report=out.json``, in the shape of ``report.schema.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.result import SCHEMA, to_wire
from pytest_llmperf.reports.summary import count_statuses

if TYPE_CHECKING:
    from pytest_llmperf.reports.result import TestResult


def describe_run(results: Sequence[TestResult], *, session: Mapping[str, Any]) -> dict[str, Any]:
    """The run without its tests. ``session`` is plain data and is passed on as it is."""
    return {
        "schema": SCHEMA,
        "session": _replace_infinite(session),
        "counts": {status.value: count for status, count in count_statuses(results).items()},
    }


def build_report(results: Sequence[TestResult], *, session: Mapping[str, Any]) -> dict[str, Any]:
    """The run and every test of it, with its verdicts and its measurement.

    Numbers that JSON cannot write, NaN and the infinities, are null.
    """
    return {
        **describe_run(results, session=session),
        "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "tests": [_replace_infinite(to_wire(result)) for result in results],
    }


def render(results: Sequence[TestResult], session: Mapping[str, Any]) -> str:
    """The text of the report.

    Raises:
        TypeError: ``session`` holds something that is not plain data.
    """
    content = build_report(results, session=session)
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def read_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) that every report is valid under."""
    text = files("pytest_llmperf.reports").joinpath("report.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _replace_infinite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _replace_infinite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_infinite(inner) for inner in value]
    return value
