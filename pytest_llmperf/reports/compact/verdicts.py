"""Verdicts without what the metrics and the measurement say as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.compact.differences import fill_in, leave_out
from pytest_llmperf.reports.compact.names import find_base, lengthen_how, shorten_how

if TYPE_CHECKING:
    from collections.abc import Mapping


def compact_verdict(
    verdict: Mapping[str, Any], measurement: Mapping[str, Any], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """The verdict as files hold it; ``measurement`` is that of its test, in full."""
    measured = _find_measured(verdict, measurement)
    found = dict(verdict)
    if found.get("interval"):
        found["interval"] = leave_out(found["interval"], _find_usual_interval(verdict["name"], measured, metrics))
    found = leave_out(found, _find_usual(verdict, measured, metrics))
    if "how" in found:
        found["how"] = shorten_how(found["how"], verdict["name"], metrics)
    return found


def expand_verdict(
    written: Mapping[str, Any], measurement: Mapping[str, Any], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """The verdict that :func:`compact_verdict` made ``written`` of."""
    measured = _find_measured(written, measurement)
    found = dict(written)
    if "how" in found:
        found["how"] = lengthen_how(found["how"], found["name"], metrics)
    found = fill_in(found, _find_usual(written, measured, metrics))
    if found.get("interval"):
        found["interval"] = fill_in(found["interval"], _find_usual_interval(written["name"], measured, metrics))
    return found


def _find_measured(verdict: Mapping[str, Any], measurement: Mapping[str, Any]) -> Mapping[str, Any]:
    """The measurement of the engine that a verdict is of."""
    engine = verdict.get("engine", "")
    parts = measurement.get("parts", ()) if engine else ()
    return next((part for part in parts if part.get("label") == engine), measurement)


def _find_usual(verdict: Mapping[str, Any], measured: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    base = find_base(verdict["name"], metrics)
    known = {key: metrics[base][key] for key in ("unit", "better")} if base in metrics else {}
    how = measured.get("readings", {}).get(verdict["name"], {}).get("how")
    if how is None and base.startswith("memory."):
        how = measured.get("memory", {}).get("source")
    seconds = measured.get("engine_seconds")
    return {
        "metric": base,
        "limit": None,
        "measured": None,
        "reason": "",
        "engine": "",
        "relative": False,
        **known,
        **({} if how is None or verdict.get("measured") is None else {"how": how}),
        **({} if seconds is None else {"engine_seconds": seconds}),
    }


def _find_usual_interval(name: str, measured: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Unit and number of what the metric of an interval was taken from."""
    base = find_base(name, metrics)
    if base in (distributions := measured.get("distributions", {})):
        return {"units": distributions[base]["requests"], "unit": "request"}
    evidence = measured.get("evidence", {}).get(base, {})
    return {key: evidence[key] for key in ("units", "unit") if key in evidence}
