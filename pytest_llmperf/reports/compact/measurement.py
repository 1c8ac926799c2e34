"""Measurements without what stands in the tables of their report, and without what is usual."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.compact.differences import Table, fill_in, leave_out
from pytest_llmperf.reports.compact.parts import READING, WRITING
from pytest_llmperf.reports.compact.readings import compact_readings, expand_readings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.reports.compact.parts import Usual

_USUAL: dict[str, Any] = {
    "engine": None,
    "missing": {},
    "distributions": {},
    "evidence": {},
    "validity": [],
    "cancelled": [],
    "devices": [],
    "rounds": 1,
    "looks": None,
    "attempt": 1,
    "label": "",
    "parts": [],
}


@dataclass(frozen=True)
class Tables:
    """What stands once in a report.

    Attributes:
        metrics: unit, direction and formula of each metric, by its name.
        usual: what most tests have alike, by the part of a measurement.
        engines, devices, workloads: entries that tests name by their place.
        missing: the same, of a reason and the names of the readings that have no value for it.
    """

    metrics: Mapping[str, Any]
    usual: Usual
    engines: Table = field(default_factory=Table)
    devices: Table = field(default_factory=Table)
    workloads: Table = field(default_factory=Table)
    missing: Table = field(default_factory=Table)


def compact_measurement(measurement: Mapping[str, Any], tables: Tables) -> dict[str, Any]:
    """The measurement as files hold it; adds to the tables what it names there."""
    if not measurement:
        return {}
    found = WRITING.change_parts(measurement, tables.usual)
    if "readings" in found:
        found.update(compact_readings(found["readings"], measurement, tables.metrics))
    if found.get("engine") is not None:
        found["engine"] = tables.engines.find_place(found["engine"])
    if "workload" in found:
        found["workload"] = tables.workloads.find_place(found["workload"])
    if found.get("missing"):
        found["missing"] = _compact_missing(found["missing"], tables)
    if "windows" in found:
        found["windows"] = [{**one, "missing": _compact_missing(one["missing"], tables)} for one in found["windows"]]
    if found.get("devices"):
        found["devices"] = [{**one, "device": tables.devices.find_place(one["device"])} for one in found["devices"]]
    if found.get("parts"):
        found["parts"] = [compact_measurement(part, tables) for part in found["parts"]]
    return leave_out(found, _USUAL)


def expand_measurement(written: Mapping[str, Any], tables: Tables) -> dict[str, Any]:
    """The measurement that :func:`compact_measurement` made ``written`` of.

    Raises:
        IndexError: it names an entry that is in no table.
    """
    if not written:
        return {}
    found = READING.change_parts(fill_in(written, _USUAL), tables.usual)
    if found.get("engine") is not None:
        found["engine"] = tables.engines.rows[found["engine"]]
    if "workload" in found:
        found["workload"] = tables.workloads.rows[found["workload"]]
    if found.get("missing"):
        found["missing"] = _expand_missing(found["missing"], tables)
    if "readings" in found:
        found["readings"] = expand_readings(found, tables.metrics)
        found.pop("samples", None)
        found.pop("how", None)
    if "windows" in found:
        found["windows"] = [{**one, "missing": _expand_missing(one["missing"], tables)} for one in found["windows"]]
    if found.get("devices"):
        found["devices"] = [{**one, "device": tables.devices.rows[one["device"]]} for one in found["devices"]]
    if found.get("parts"):
        found["parts"] = [expand_measurement(part, tables) for part in found["parts"]]
    return found


def _compact_missing(missing: Mapping[str, Any], tables: Tables) -> list[int]:
    return [tables.missing.find_place([why, names]) for why, names in missing.items()]


def _expand_missing(places: list[int], tables: Tables) -> dict[str, Any]:
    return dict(tables.missing.rows[place] for place in places)
