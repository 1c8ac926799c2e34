"""The report for machines: ``--llmperf-report=out.json``, in the shape of ``report.schema.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.compact.report import compact_report
from pytest_llmperf.reports.result import SCHEMA, count_statuses, to_wire
from pytest_llmperf.reports.wire.numbers import to_number
from pytest_llmperf.reports.wire.timeline import downsample

if TYPE_CHECKING:
    from pytest_llmperf.reports.result import TestResult

_OF_A_TEST = ("nodeid", "outcome", "duration_s", "failed_by", "verdicts", "measurement")
_OF_A_VERDICT = ("status", "name", "metric", "limit", "measured", "reason", "engine")
_OF_A_MEASUREMENT = (
    "cancelled",
    "workload",
    "readings",
    "missing",
    "distributions",
    "evidence",
    "validity",
    "parts",
    "looks",
)
_OF_AN_ENGINE = (
    "version",
    "version_class",
    "model",
    "label",
    "devices",
    "startup_seconds",
    "warmup_seconds",
    "digest",
    "quantisation",
    "arguments",
)
_POINTS = 16
"""Of the level of memory over time."""
_DRAWN = ("series", "lanes", "lanes_of")
ALWAYS = frozenset((*_OF_A_TEST, *_OF_A_VERDICT, *_OF_A_MEASUREMENT, *_OF_AN_ENGINE))
"""The keys inside of a test that are written even if there is nothing to say."""

EXACT = frozenset({"value", "measured", "limit", "baseline"})
"""The numbers that are written with all their digits, because a verdict may hang on the last one."""


def describe_run(results: Sequence[TestResult], *, session: Mapping[str, Any]) -> dict[str, Any]:
    """The run without its tests. ``session`` is plain data and is passed on as it is."""
    return {
        "schema": SCHEMA,
        "session": _replace_infinite(session),
        "counts": {status.value: count for status, count in count_statuses(results).items()},
    }


def build_report(
    results: Sequence[TestResult], *, session: Mapping[str, Any], keeps_next_tokens: bool = False
) -> dict[str, Any]:
    """The run and every test of it, with its verdicts and its measurement.

    Numbers that JSON cannot write, NaN and the infinities, are null. Inside of a test, what is null or empty is left
    out, but for the keys in ``ALWAYS``; numbers with a fraction have six significant digits, but for those in
    ``EXACT``. The next tokens of engines are left out unless the report ``keeps_next_tokens``, as a stored one does:
    then each text has those of each fingerprint once.
    """
    tests = [_replace_infinite(to_wire(result)) for result in results]
    metrics: dict[str, Any] = {}
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for test in tests:
        del test["schema"]
        _take_metrics(test["measurement"], metrics)
        take_next_tokens(test["measurement"], kept)
        _drop_drawn(test["measurement"])
        _thin_timelines(test["measurement"])
    return {
        **describe_run(results, session=session),
        "created": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "metrics": metrics,
        "tests": [_shorten(test) for test in tests],
        **({"next_tokens": list(kept.values())} if keeps_next_tokens and kept else {}),
    }


def take_next_tokens(measurement: dict[str, Any], kept: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Moves the next tokens of each engine out of a measurement, by fingerprint and text."""
    if found := measurement.pop("next_tokens", None):
        fingerprint = measurement["engine"]["fingerprint"]
        kept[fingerprint, found["text"]] = {"fingerprint": fingerprint, **found}
    for part in measurement.get("parts", ()):
        take_next_tokens(part, kept)


def _take_metrics(measurement: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Moves what the names of the readings mean to a table of the whole report."""
    metrics.update(measurement.pop("metrics", {}))
    for part in measurement.get("parts", ()):
        _take_metrics(part, metrics)


def _drop_drawn(measurement: dict[str, Any]) -> None:
    """Removes what is there to be drawn."""
    for key in _DRAWN:
        measurement.pop(key, None)
    for part in measurement.get("parts", ()):
        _drop_drawn(part)


def _thin_timelines(measurement: dict[str, Any]) -> None:
    """Keeps so many points of each level over time as a file of many tests has room for."""
    devices = [device["memory"] for device in measurement.get("devices", ())]
    for memory in [measurement.get("memory"), *devices]:
        if memory:
            memory["timeline"] = [list(point) for point in downsample([*map(tuple, memory["timeline"])], _POINTS)]
    for part in measurement.get("parts", ()):
        _thin_timelines(part)


def _shorten(value: Any, *, exact: bool = False) -> Any:
    if isinstance(value, Mapping):
        kept = {key: _shorten(inner, exact=key in EXACT) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if key in ALWAYS or not _is_empty(inner)}
    if isinstance(value, list):
        return [_shorten(inner) for inner in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else value if exact else to_number(value)
    return value


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | dict) and not value)


def render(results: Sequence[TestResult], session: Mapping[str, Any]) -> str:
    """The text of the report: each test on one line, and each other part of the report as well.

    Raises:
        TypeError: ``session`` holds something that is not plain data.
    """
    content = compact_report(build_report(results, session=session))
    tests = ",\n".join(_write(test) for test in content.pop("tests"))
    head = ",\n".join(f"{_write(key)}:{_write(value)}" for key, value in content.items())
    return f"{{{head},\n{_write('tests')}:[\n{tests}\n]}}\n"


def _write(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


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
