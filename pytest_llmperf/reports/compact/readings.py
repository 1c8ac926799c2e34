"""The readings of a measurement: a number by each name, and beside them what is not plain from the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.compact.names import find_base, lengthen_how, shorten_how

if TYPE_CHECKING:
    from collections.abc import Mapping


def compact_readings(
    readings: Mapping[str, Mapping[str, Any]], measurement: Mapping[str, Any], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """``readings``: the values by name. ``samples`` of those whose number does not follow, null for those without.

    ``how``: the names by the text that says how they were measured.
    """
    samples: dict[str, Any] = {}
    how: dict[str, list[str]] = {}
    for name, reading in readings.items():
        if reading.get("samples") != _find_samples(name, measurement, metrics):
            samples[name] = reading.get("samples")
        if "how" in reading:
            how.setdefault(shorten_how(reading["how"], name, metrics), []).append(name)
    values = {name: reading["value"] for name, reading in readings.items()}
    return {"readings": values, **({"samples": samples} if samples else {}), **({"how": how} if how else {})}


def expand_readings(written: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The readings that :func:`compact_readings` made a part of ``written`` of, a measurement."""
    how = {name: lengthen_how(text, name, metrics) for text, names in written.get("how", {}).items() for name in names}
    own = written.get("samples", {})
    found = {}
    for name, value in written["readings"].items():
        samples = own[name] if name in own else _find_samples(name, written, metrics)
        found[name] = {
            "value": value,
            **({} if samples is None else {"samples": samples}),
            **({"how": how[name]} if name in how else {}),
        }
    return found


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
