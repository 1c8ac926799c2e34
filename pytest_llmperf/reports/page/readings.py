"""The readings of a measurement as two tables: latencies with a column for each statistic, and all other values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import find_quantity, format_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.reports.result import TestResult


@dataclass(frozen=True)
class Latencies:
    """Latencies: ``columns`` are statistics such as ``p95``, and each row is a name with a cell for each of them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Readings:
    """What was read of a measurement, as texts.

    Attributes:
        latencies: distributions at their statistics.
        values: name and value of every other reading.
        recorded: name and value of what the test recorded itself.
        counters: name and value of the engine's own counters.
        missing: reasons and the names that have no value for them, without those that hold for the whole run.
    """

    latencies: Latencies
    values: tuple[tuple[str, str], ...]
    recorded: tuple[tuple[str, str], ...]
    counters: tuple[tuple[str, str], ...]
    missing: tuple[tuple[str, tuple[str, ...]], ...]


def read_readings(measurement: Mapping[str, Any], common: Sequence[tuple[str, str]] = ()) -> Readings:
    """The readings of a measurement in its wire form; ``common`` are missing ones that are told for the whole run."""
    readings = measurement.get("readings", {})
    grouped: dict[str, dict[str, str]] = {}
    values: list[tuple[str, str]] = []
    for name, reading in readings.items():
        metric, statistic = _find_metric(measurement, name)
        text = format_value(reading["value"], find_quantity(metric["unit"])) if metric else f"{reading['value']:.6g}"
        if statistic:
            grouped.setdefault(name.removesuffix(f"_{statistic}"), {})[statistic] = text
        else:
            values.append((name, text))
    columns = sorted({statistic for row in grouped.values() for statistic in row}, key=_order)
    rows = tuple((name, tuple(row.get(column, "") for column in columns)) for name, row in grouped.items())
    told = set(common)
    missing = []
    for reason, names in measurement.get("missing", {}).items():
        if own := tuple(name for name in names if (reason, name) not in told):
            missing.append((reason, own))
    return Readings(
        latencies=Latencies(tuple(columns), rows),
        values=tuple(values),
        recorded=tuple((one["name"], _format_record(one)) for one in measurement.get("records", ())),
        counters=tuple((name, _format_counter(value)) for name, value in measurement.get("engine_stats", {}).items()),
        missing=tuple(missing),
    )


def find_common_missing(results: Sequence[TestResult]) -> list[tuple[str, str]]:
    """Reason and name of what is missing for one reason in every measured test, if there are several."""
    measured = [result.measurement for result in results if result.measurement]
    if len(measured) < 2:
        return []
    found = Counter(
        (reason, name) for one in measured for reason, names in one.get("missing", {}).items() for name in names
    )
    return [pair for pair, count in found.items() if count == len(measured)]


def group_by_reason(missing: Sequence[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """The names for each reason."""
    found: dict[str, list[str]] = {}
    for reason, name in missing:
        found.setdefault(reason, []).append(name)
    return list(found.items())


def _find_metric(measurement: Mapping[str, Any], name: str) -> tuple[Mapping[str, str] | None, str]:
    """The row of a reading's metric, None if it is not known, and the statistic in its name, which may be empty."""
    metrics = measurement.get("metrics", {})
    if name in metrics:
        return metrics[name], ""
    parts = name.split("_")
    for place in range(len(parts) - 1, 0, -1):
        if (base := "_".join(parts[:place])) in metrics:
            return metrics[base], "_".join(parts[place:])
    return None, ""


def _order(statistic: str) -> tuple[float, str]:
    digits = statistic.removeprefix("p").replace("_", ".", 1)
    return (float(digits), statistic) if digits.replace(".", "", 1).isdigit() else (1000.0, statistic)


def _format_record(record: Mapping[str, Any]) -> str:
    number = "not a finite number" if record["value"] is None else f"{record['value']:.6g}"
    return number if record["unit"] == "1" else f"{number} {record['unit']}"


def _format_counter(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"
