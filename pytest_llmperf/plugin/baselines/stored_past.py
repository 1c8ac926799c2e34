"""What the runs of the store have measured of a test, for the judge of relative limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.baselines.errors import StoreError
from pytest_llmperf.baselines.stored_run import failed_by_itself, find_fingerprint
from pytest_llmperf.budgets.comparison.history import LEAST_RUNS, MOST_RUNS, CompareWithPast
from pytest_llmperf.budgets.comparison.past import Past, PastValue
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.plugin.baselines.differences import describe_engine_differences, describe_run
from pytest_llmperf.reports.result import find_part
from pytest_llmperf.reports.wire.engine import engine_to_wire
from pytest_llmperf.reports.wire.workload import workload_to_wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_llmperf.baselines.store import Store
    from pytest_llmperf.baselines.stored_run import StoredRun
    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.quality.next_tokens import TextNextTokens

_RUNS_SEARCHED = 100
"""Runs of a part of the suite push those that have a test out of the last ones."""


class PastRuns:
    """The runs of one name in a store, of which each process reads what its tests need, once.

    Attributes:
        name: the name under which they were saved.
    """

    def __init__(self, path: Path, name: str) -> None:
        from pytest_llmperf.baselines.store import Store

        self.name = name
        self._path = path
        self._store: Store = Store(path)
        self._runs: dict[tuple[str, int], list[StoredRun]] = {}
        self._anchors: dict[str, StoredRun | None] = {}

    def compare(self, nodeid: str) -> CompareWithPast:
        """What judges the relative limits of a test."""
        return CompareWithPast(_PastOfTest(self, nodeid))

    def find(self, test: Mapping[str, Any], metric: str, engine: str = "") -> Past:
        """What the runs have measured of a metric.

        Args:
            test: the node id and the measurement of the test as a report has them.
            metric: as it is limited, such as ``latency.ttft_p95``.
            engine: the label of one engine of several.
        """
        try:
            fingerprint = find_fingerprint(test)
            runs = self._find_runs(fingerprint)
            found = self._search(runs, test, metric, engine)
            if len(found.values) < LEAST_RUNS and len(runs) == MOST_RUNS:
                runs = self._find_runs(fingerprint, _RUNS_SEARCHED)
                found = self._search(runs, test, metric, engine)
            if not found.values:
                return Past(why_none=self._why_none(runs, found, test, metric), baseline=self.name)
            anchor = self._find_anchor(fingerprint)
            fixed = [] if anchor is None else self._search([anchor], test, metric, engine).values
            return Past(tuple(found.values[:MOST_RUNS]), fixed[0] if fixed else None, baseline=self.name)
        except StoreError as error:
            return Past(why_none=str(error), baseline=self.name)

    def find_next_tokens(self, measurement: Measurement, text: str) -> tuple[str, TextNextTokens] | str:
        """The next tokens of the newest run that a measurement may be compared with; or why there are none.

        ``text`` is the digest of the text that they are asked for.
        """
        from pytest_llmperf.quality.reference import next_tokens_from_wire

        test = {"nodeid": "", "measurement": _identify(measurement)}
        try:
            runs = self._find_runs(find_fingerprint(test))
            for run in runs:
                if found := run.next_tokens.get(text):
                    return describe_run(run), next_tokens_from_wire(found)
        except (StoreError, AttributeError, KeyError, TypeError, ValueError) as error:
            return f"the next tokens of {self.name} cannot be read: {error}"
        if not runs:
            return self._why_none(runs, _Found([]), test, "")
        return f"no run of {self.name} keeps next tokens for this text: --llmperf-save={self.name} stores them"

    def find_newest(self, test: Mapping[str, Any]) -> tuple[StoredRun | None, int]:
        """The newest run that a test is compared with, None without one, and how many runs there are, at most 20."""
        try:
            runs = self._find_runs(find_fingerprint(test))
        except StoreError:
            return None, 0
        return (runs[0] if runs else None), len(runs)

    @property
    def faults(self) -> list[str]:
        """A line for each file of the store that cannot be read."""
        return list(self._store.faults.values())

    def _find_runs(self, fingerprint: str, last: int = MOST_RUNS) -> list[StoredRun]:
        if (fingerprint, last) not in self._runs:
            self._runs[fingerprint, last] = self._store.find_runs(self.name, fingerprint, last=last)
        return self._runs[fingerprint, last]

    def _find_anchor(self, fingerprint: str) -> StoredRun | None:
        if fingerprint not in self._anchors:
            self._anchors[fingerprint] = self._store.find_anchor(self.name, fingerprint)
        return self._anchors[fingerprint]

    def _search(self, runs: Iterable[StoredRun], test: Mapping[str, Any], metric: str, engine: str) -> _Found:
        found = _Found([])
        for run in runs:
            entry = _find_entry(run, test)
            if entry is None:
                continue
            found.tests += 1
            if _differ(_read_workload(entry), _read_workload(test)):
                found.other_workloads += 1
            elif _is_in_other_currency(run, metric, test["measurement"].get("currency", "")):
                continue
            elif (value := _read_value(run, entry, metric, engine)) is not None:
                found.values.append(value)
        return found

    def _why_none(self, runs: Sequence[StoredRun], found: _Found, test: Mapping[str, Any], metric: str) -> str:
        if not runs:
            others = self._store.fingerprints(self.name)
            if others:
                differing = describe_engine_differences(test, others.values())
                return f"not comparable with {self.name}: {differing}"
            return f"no run is stored as {self.name} in {self._path.name}: --llmperf-save={self.name} stores one"
        if not found.tests:
            return f"no run of {self.name} has this test: --llmperf-save={self.name} stores one"
        if found.other_workloads == found.tests:
            return f"not comparable with {self.name}: the test asks for another workload than its runs did"
        return f"no run of {self.name} has a valid value of {metric} in this test"


@dataclass
class _Found:
    """The values of runs, how many of them have the test, and how many of these asked for another workload."""

    values: list[PastValue]
    tests: int = 0
    other_workloads: int = 0


@dataclass(frozen=True)
class _PastOfTest:
    runs: PastRuns
    nodeid: str

    def __call__(self, limit: Limit, measurement: Measurement, engine: str) -> Past:
        test = {"nodeid": self.nodeid, "measurement": _identify(measurement)}
        return self.runs.find(test, limit.name, engine)


def _identify(measurement: Measurement) -> dict[str, Any]:
    """What tells with which measurements this one may be compared, as a report has it."""
    return {
        "engine": None if measurement.engine is None else engine_to_wire(measurement.engine),
        "workload": workload_to_wire(measurement),
        "devices": [{"device": {"name": trace.device.name}} for trace in measurement.devices],
        "currency": "" if measurement.prices is None else measurement.prices.currency,
        "parts": [_identify(part) for part in measurement.parts],
    }


def _find_entry(run: StoredRun, test: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The same test in a run.

    The label of its engine stands in a node id only if the run had several, the group of pytest-xdist only with
    ``--dist=loadgroup``.
    """
    if (nodeid := str(test["nodeid"])) in run.tests:
        return run.tests[nodeid]
    plain = _plain_name(nodeid, test)
    return next((entry for known, entry in run.tests.items() if _plain_name(known, entry) == plain), None)


def _plain_name(nodeid: str, test: Mapping[str, Any]) -> str:
    before, _, group = nodeid.rpartition("@")
    if before and not set("]:") & set(group):
        nodeid = before
    start, _, rest = nodeid.partition("[")
    parameters, engine = rest.removesuffix("]"), test["measurement"].get("engine") or {}
    for name in filter(None, (engine.get("label"), engine.get("name"))):
        if parameters == name:
            return start
        if parameters.startswith(f"{name}-") or parameters.endswith(f"-{name}"):
            return f"{start}[{parameters.removeprefix(f'{name}-').removesuffix(f'-{name}')}]"
    return nodeid


def _is_in_other_currency(run: StoredRun, metric: str, currency: str) -> bool:
    return metric.startswith("cost.") and (run.metrics.get(metric) or {}).get("unit") != currency


def _read_workload(test: Mapping[str, Any]) -> str:
    workload = test["measurement"].get("workload") or {}
    return str(workload.get("digest") or "")


def _differ(one: str, other: str) -> bool:
    return bool(one and other) and one != other


def _read_value(run: StoredRun, entry: Mapping[str, Any], metric: str, engine: str) -> PastValue | None:
    """The value of a metric in one run; None if there is none that may be used.

    A budget that is broken does not make its value unusable: who stored that run anyway meant it to count.
    """
    verdicts = [one for one in entry["verdicts"] if one["name"] == metric and one["engine"] in ("", engine)]
    if any(one["status"] == Status.INVALID for one in verdicts) or failed_by_itself(entry):
        return None
    reading = find_part(entry["measurement"], engine)["readings"].get(metric)
    value = reading and reading.get("value")
    if reading is None and verdicts:  # what depends on the limits of the test stands in its verdict alone
        value = verdicts[0]["measured"]
    return None if value is None else PastValue(float(value), (reading or {}).get("samples"), describe_run(run))
