"""A test's verdicts as JUnit properties."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.main_metrics import choose_main, read_records
from pytest_llmperf.reports.result import find_variant
from pytest_llmperf.reports.wire.readings import find_metric, find_metric_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.reports.result import TestResult

PREFIX = "llmperf."


def list_properties(result: TestResult) -> list[tuple[str, str]]:
    """``llmperf.engine``, ``.model``, ``.label``, ``.device``, and ``.against`` of a test on two engines by turns.

    For each budget its value, ``.low``, ``.high``, ``.evidence``, ``.limit`` and ``.verdict``; for each budget against
    a baseline the same below ``.change``, and ``.baseline``. Of a test without budgets its main metrics.
    ``llmperf.recorded.NAME`` is what the test recorded itself, with its unit.

    Values and limits are in base units (``"17179869184 B"``), so that they can be plotted as they are.
    A budget without a value has only its limit and its verdict. ``llmperf.host.…`` say what the host did meanwhile.
    """
    found: list[tuple[str, str]] = []
    engine = result.measurement.get("engine")
    if engine:
        found.append((f"{PREFIX}engine", f"{engine['name']} {engine['version']}".strip()))
        found.append((f"{PREFIX}model", engine["model"]))
        if variant := find_variant(engine):
            found.append((f"{PREFIX}label", variant))
        if engine["devices"]:
            found.append((f"{PREFIX}device", " + ".join(sorted({d["name"] for d in engine["devices"]}))))
    if result.pairs:
        found.append((f"{PREFIX}against", str(result.pairs["old"])))
    found += _list_host(result.measurement.get("host"))
    if not result.verdicts:
        found += _list_readings(result.measurement)
    for name, (value, unit) in read_records(result.measurement).items():
        found.append((f"{PREFIX}recorded.{name}", f"{_write(value)} {unit}".rstrip() if unit != "1" else _write(value)))
    for verdict in result.verdicts:
        scope = f"{verdict.engine}." if verdict.engine else ""
        name = f"{PREFIX}{scope}{verdict.name}" if verdict.name else PREFIX.rstrip(".")
        found += _list_change(f"{name}.change", verdict) if verdict.relative else _list_value(name, verdict)
    return found


def _list_readings(measurement: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The main metrics of a test without budgets, those that are valid."""
    invalid = {name for one in measurement.get("validity") or () if one["undoes"] == "any" for name in one["metrics"]}
    for name in choose_main(measurement):
        if find_metric_name(name) in invalid:
            continue
        unit = find_metric(measurement, name)["unit"]
        text = _write(measurement["readings"][name]["value"])
        yield f"{PREFIX}{name}", text if unit == "1" else f"{text} {unit}"


def _list_value(name: str, verdict: Verdict) -> Iterator[tuple[str, str]]:
    if verdict.measured is not None:
        yield name, _in_base(verdict.measured, verdict)
    if verdict.interval is not None:
        bounds = (("low", verdict.interval.low), ("high", verdict.interval.high))
        yield from ((f"{name}.{side}", _in_base(bound, verdict)) for side, bound in bounds if bound is not None)
        if verdict.interval.units:
            yield f"{name}.evidence", verdict.interval.evidence_text
    if verdict.limit is not None:
        yield f"{name}.limit", _in_base(verdict.limit, verdict)
    yield f"{name}.verdict", verdict.status.value


def _list_change(name: str, verdict: Verdict) -> Iterator[tuple[str, str]]:
    """The change against a baseline: shares, such as ``0.041`` for 4.1 % more."""
    if verdict.change is not None:
        yield name, f"{verdict.change:.4g}"
    if verdict.baseline is not None:
        yield f"{name}.baseline", _in_base(verdict.baseline, verdict)
    if verdict.interval is not None and verdict.baseline:
        bounds = (("low", verdict.interval.low), ("high", verdict.interval.high))
        shares = ((side, bound / verdict.baseline - 1) for side, bound in bounds if bound is not None)
        yield from ((f"{name}.{side}", f"{share:.4g}") for side, share in shares)
        if verdict.interval.units:
            yield f"{name}.evidence", verdict.interval.evidence_text
    yield f"{name}.limit", verdict.limit_text
    yield f"{name}.verdict", verdict.status.value


def _list_host(host: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """What is known of the host over the test; shares are between 0 and 1."""
    if host is None:
        return
    waited = {"waited": host["threads"]["share_waited"]} if host["threads"] else {}
    numbers = {
        **waited,
        **{key: host[key] for key in ("other_cores", "steal")},
        **{f"pressure.{kind}": share for kind, share in host["pressure"].items()},
        "throttled": host["throttled_s"],
    }
    for name, value in numbers.items():
        text = "not known" if value is None else f"{value:.4g}"
        yield f"{PREFIX}host.{name}", f"{text} s" if name == "throttled" and value is not None else text


def _in_base(value: float, verdict: Verdict) -> str:
    number = _write(value)
    return number if verdict.quantity.base == "1" else f"{number} {verdict.quantity.base}"


def _write(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def replace_properties(existing: list[tuple[str, object]], new: Sequence[tuple[str, str]]) -> None:
    """Put ``new`` in place of all ``llmperf.`` properties: pytest keeps the list over reruns of a test."""
    existing[:] = [pair for pair in existing if not pair[0].startswith(PREFIX)] + list(new)
