"""The readings of a measurement: a number by each name, and beside them what is not plain from the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.compact.names import find_base, lengthen_how, shorten_how

if TYPE_CHECKING:
    from collections.abc import Mapping


# Most tests take nothing from a cache, and what has no value is named with its reason: 0 is what is left out.
_ZERO_UNLESS_WRITTEN = "throughput.prefix_hit_rate"


def compact_readings(
    readings: Mapping[str, Mapping[str, Any]], measurement: Mapping[str, Any], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """``readings``: the values by name. ``samples`` of those whose number does not follow, null for those without.

    ``how``: the names by the text that says how they were measured.
    """
    samples: dict[str, Any] = {}
    how: dict[str, list[str]] = {}
    kept = {name: reading for name, reading in readings.items() if not _is_usual(name, reading, measurement, metrics)}
    for name, reading in kept.items():
        if reading.get("samples") != _find_samples(name, measurement, metrics):
            samples[name] = reading.get("samples")
        if "how" in reading:
            how.setdefault(shorten_how(reading["how"], name, metrics), []).append(name)
    values = {name: reading["value"] for name, reading in kept.items()}
    return {"readings": values, **({"samples": samples} if samples else {}), **({"how": how} if how else {})}


def expand_readings(written: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The readings that :func:`compact_readings` made a part of ``written`` of, a measurement with its ``missing``."""
    how = {name: lengthen_how(text, name, metrics) for text, names in written.get("how", {}).items() for name in names}
    own = written.get("samples", {})
    found = {}
    values = dict(written["readings"])
    absent = {name for names in (written.get("missing") or {}).values() for name in names}
    if _ZERO_UNLESS_WRITTEN in metrics.keys() - values.keys() - absent:
        values[_ZERO_UNLESS_WRITTEN] = 0.0
    for name, value in values.items():
        samples = own[name] if name in own else _find_samples(name, written, metrics)
        found[name] = {
            "value": value,
            **({} if samples is None else {"samples": samples}),
            **({"how": how[name]} if name in how else {}),
        }
    return found


def _is_usual(
    name: str, reading: Mapping[str, Any], measurement: Mapping[str, Any], metrics: Mapping[str, Any]
) -> bool:
    usual = {"value": 0, "samples": _find_samples(name, measurement, metrics)}
    return name == _ZERO_UNLESS_WRITTEN and dict(reading) == usual


def _find_samples(name: str, measurement: Mapping[str, Any], metrics: Mapping[str, Any]) -> Any:
    """The usual number of samples: of a latency its values, of memory its samples, of another the requests."""
    base = find_base(name, metrics)
    match base.partition(".")[0]:
        case "latency":
            return measurement.get("distributions", {}).get(base, {}).get("count")
        case "memory":
            return measurement.get("memory", {}).get("samples")
        case _:
            return measurement.get("requests", {}).get("total")
