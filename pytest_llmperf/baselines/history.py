"""The history of a metric: for each test its values in stored runs, where their level changed, and how far it went."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from pytest_llmperf.baselines.change_points import ChangePoint, find_change_points
from pytest_llmperf.baselines.selection import check_is_stored, find_metric, find_reading, matches
from pytest_llmperf.baselines.stored_run import failed_by_itself
from pytest_llmperf.baselines.words import describe_engines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from pytest_llmperf.baselines.store import Store
    from pytest_llmperf.baselines.stored_run import StoredRun

SMALLEST_CHANGE = 0.01
RUNS = 500
ANCHOR_RUNS = 5
"""The level at the anchor, and the newest one, are medians of so many runs."""


@dataclass(frozen=True)
class Point:
    """A value of one run.

    Attributes:
        created: when the run was reported, in UTC.
        run: its identity in the store.
        commit: of the project; empty if it is not known.
        version: of the engine; empty without one.
        driver: of the devices; empty if it is not known.
        value: in the base unit of the metric.
    """

    created: datetime
    run: str
    commit: str
    version: str
    driver: str
    value: float


@dataclass(frozen=True)
class Series:
    """The history of a metric in one test on engines of one fingerprint.

    Attributes:
        test: its node id.
        reading: the name of the metric with its statistic.
        fingerprint: of the engines.
        measured_on: the same in words.
        unit: the base unit of the values.
        better: ``lower`` or ``higher``.
        points: in order of time.
        missing: in how many of the runs with this test it has no value.
        anchor: the level at the anchor, a median of up to five runs; None if the test has no value there.
        changes: of level, by the index of the point; those smaller than was asked for are left out.
    """

    test: str
    reading: str
    fingerprint: str
    measured_on: str
    unit: str
    better: str
    points: tuple[Point, ...]
    missing: int
    anchor: float | None
    changes: tuple[ChangePoint, ...]

    @property
    def values(self) -> list[float]:
        """Those of the points."""
        return [point.value for point in self.points]

    @property
    def since_anchor(self) -> float | None:
        """The newest level by that at the anchor, minus 1; None without an anchor that is not zero."""
        return median(self.values[-ANCHOR_RUNS:]) / self.anchor - 1 if self.anchor else None

    def is_worse(self, change: float) -> bool:
        """Whether a change by this share is one for the worse."""
        return change > 0 if self.better == "lower" else change < 0

    def as_plain(self) -> dict[str, Any]:
        """As plain data, for JSON and for plots."""
        return {
            "test": self.test,
            "metric": self.reading,
            "fingerprint": self.fingerprint,
            "measured_on": self.measured_on,
            "unit": self.unit,
            "better": self.better,
            "missing": self.missing,
            "anchor": self.anchor,
            "since_anchor": self.since_anchor,
            "points": [{**vars(point), "created": point.created.isoformat()} for point in self.points],
            "changes": [vars(change) for change in self.changes],
        }


def read_history(
    store: Store,
    name: str,
    metric: str,
    *,
    test_glob: str = "*",
    engine_glob: str = "*",
    last: int = RUNS,
    smallest_change: float = SMALLEST_CHANGE,
) -> list[Series]:
    """The history of a metric in each test that has one, by fingerprint and node id.

    Args:
        store: where the runs are.
        name: of the runs.
        metric: with its statistic, ``latency.ttft_p50``; the group may be left out.
        test_glob: of node ids.
        engine_glob: of an engine's label, its name, or its name and model.
        last: at most so many of the newest runs of each fingerprint.
        smallest_change: changes of level by a smaller share are left out.

    Raises:
        StoreError: there are no runs of this name, no such metric, or the store cannot be read.
    """
    check_is_stored(store, name)
    newest = store.fingerprints(name)
    # The newest run alone may have no value of it.
    last_runs = [run for fingerprint in newest for run in store.find_runs(name, fingerprint)]
    known = [key for run in last_runs for test in run.tests.values() for key in test["measurement"]["readings"]]
    reading = find_reading(metric, known)
    found: list[Series] = []
    for fingerprint, run in newest.items():
        if not _has_engine(run, engine_glob):
            continue
        files = store.list_files(name, fingerprint)
        unit, better = _find_direction(run, reading)
        points, missing = _collect(store.read(name, fingerprint, files[-last:]), reading, test_glob, unit)
        anchors = _read_anchor_levels(store, name, fingerprint, reading, unit)
        found += [
            Series(
                test=test,
                reading=reading,
                fingerprint=fingerprint,
                measured_on=describe_engines(run).line,
                unit=unit,
                better=better,
                points=tuple(points[test]),
                missing=missing[test],
                anchor=anchors.get(test),
                changes=_find_changes(points[test], smallest_change),
            )
            for test in sorted(points)
        ]
    return found


def _has_engine(run: StoredRun, glob: str) -> bool:
    names = [run.engine.get("label"), run.engine.get("name"), f"{run.engine.get('name')}:{run.engine.get('model')}"]
    return glob == "*" or any(matches(str(name), glob) for name in names if name)


def _collect(
    runs: Iterable[StoredRun], reading: str, test_glob: str, unit: str
) -> tuple[dict[str, list[Point]], defaultdict[str, int]]:
    points: dict[str, list[Point]] = {}
    missing: defaultdict[str, int] = defaultdict(int)
    for run in runs:
        for nodeid, test in run.tests.items():
            if not matches(nodeid, test_glob):
                continue
            value = _read_value(run, test, reading, unit)
            if value is None:
                missing[nodeid] += 1
            else:
                points.setdefault(nodeid, []).append(_make_point(run, value))
    return points, missing


def _read_value(run: StoredRun, test: Any, reading: str, unit: str) -> float | None:
    """None also for a cost in another currency than that of the newest run."""
    if reading.startswith("cost.") and _find_direction(run, reading)[0] != unit:
        return None
    value = (test["measurement"]["readings"].get(reading) or {}).get("value")
    return None if value is None or failed_by_itself(test) else float(value)


def _make_point(run: StoredRun, value: float) -> Point:
    return Point(
        created=run.created,
        run=run.identity,
        commit=run.commit,
        version=str(run.engine.get("version") or ""),
        driver=str(run.session.get("driver") or ""),
        value=value,
    )


def _read_anchor_levels(store: Store, name: str, fingerprint: str, reading: str, unit: str) -> dict[str, float]:
    """The level of each test at the anchor: a median of up to five runs from there on."""
    anchor = store.find_anchor(name, fingerprint)
    if anchor is None:
        return {}
    files = store.list_files(name, fingerprint)
    start = next((place for place, path in enumerate(files) if path == anchor.path), 0)
    values: dict[str, list[float]] = {}
    for run in store.read(name, fingerprint, files[start : start + ANCHOR_RUNS]):
        for nodeid, test in run.tests.items():
            value = _read_value(run, test, reading, unit)
            if value is not None and (nodeid in values or run.path == anchor.path):
                values.setdefault(nodeid, []).append(value)
    return {nodeid: median(found) for nodeid, found in values.items()}


def _find_direction(run: StoredRun, reading: str) -> tuple[str, str]:
    metric = run.metrics.get(find_metric(reading, run.metrics)[0]) or {}
    return str(metric.get("unit") or "1"), str(metric.get("better") or "lower")


def _find_changes(points: Sequence[Point], smallest: float) -> tuple[ChangePoint, ...]:
    changes = find_change_points([point.value for point in points])
    return tuple(change for change in changes if abs(change.ratio) >= smallest)
