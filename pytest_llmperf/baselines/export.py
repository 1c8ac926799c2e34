"""Stored runs in the formats of other tools.

* ``github-action-benchmark``: the lists that this action reads as ``customSmallerIsBetter`` and
  ``customBiggerIsBetter``.
* ``bencher``: Bencher Metric Format, which ``bencher run --adapter json`` reads.
* ``csv``: one row for each value.
* ``openmetrics``: gauges in the OpenMetrics text format, which Prometheus reads.

All values are in base units.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.baselines.selection import find_metric, find_readings
from pytest_llmperf.baselines.words import describe_engines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_llmperf.baselines.stored_run import StoredRun

CSV_COLUMNS = (
    "name",
    "fingerprint",
    "run",
    "created",
    "commit",
    "dirty",
    "branch",
    "host",
    "driver",
    "engine",
    "version",
    "model",
    "devices",
    "settings",
    "test",
    "outcome",
    "metric",
    "value",
    "unit",
    "better",
    "samples",
)
_UNIT_WORDS = {
    "B": "bytes",
    "s": "seconds",
    "tok/s": "tokens_per_second",
    "req/s": "requests_per_second",
    "J": "joules",
    "J/tok": "joules_per_token",
    "W": "watts",
    "1": "ratio",
}
_LONGEST_MEASURE = 64
_NO_NAME = re.compile(r"[^a-zA-Z0-9_]+")


@dataclass(frozen=True)
class ExportedValue:
    """One value of a run.

    Attributes:
        run: that it is of.
        series: test and engine in words, which no other test or fingerprint of the export has.
        test: the node id.
        reading: the name of the metric with its statistic.
        metric, statistic: the parts of it; the second may be empty.
        entry: the report's entry of the reading.
    """

    run: StoredRun
    series: str
    test: str
    reading: str
    metric: str
    statistic: str
    entry: Mapping[str, Any]

    @property
    def facts(self) -> Mapping[str, Any]:
        """Unit, direction and formula of the metric, as far as the report has them."""
        return self.run.metrics.get(self.metric) or {}

    @property
    def unit(self) -> str:
        """The base unit."""
        return str(self.facts.get("unit") or "1")

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The bounds of the true value where a budget was judged with them; None for a bound that is not known."""
        for verdict in self.run.tests[self.test].get("verdicts") or ():
            if verdict.get("name") == self.reading and verdict.get("interval") and not verdict.get("engine"):
                return verdict["interval"].get("low"), verdict["interval"].get("high")
        return None, None


def list_values(
    runs: Iterable[StoredRun], test_glob: str = "*", metric_globs: Sequence[str] = ("*",)
) -> list[ExportedValue]:
    """All values of some runs that are asked for."""
    runs = list(runs)
    words = {run.fingerprint: _describe(run) for run in runs}
    shared = Counter(words.values())
    found = []
    for run in runs:
        engine = words[run.fingerprint]
        suffix = f" {run.fingerprint}" if shared[engine] > 1 else ""
        for test, readings in find_readings(run, test_glob, metric_globs).items():
            for reading in readings:
                metric, statistic = find_metric(reading, run.metrics)
                entry = run.tests[test]["measurement"]["readings"][reading]
                found.append(ExportedValue(run, f"{test} ({engine}{suffix})", test, reading, metric, statistic, entry))
    return found


def _describe(run: StoredRun) -> str:
    """Without the version: a chart goes on when the engine is upgraded."""
    words = describe_engines(run)
    engine = str(run.engine.get("label") or words.engine)
    return ", ".join(part for part in (engine, words.devices) if part)


def to_github_action_benchmark(values: Iterable[ExportedValue]) -> tuple[str, str]:
    """The lists of the values of which smaller ones are better, and of those of which bigger ones are."""
    lists: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for value in values:
        item = {"name": f"{value.series} {value.reading}", "unit": value.unit, "value": value.entry["value"]}
        low, high = value.interval
        if low is not None and high is not None:
            item["range"] = f"{low:.6g} to {high:.6g}"
        item["extra"] = f"{describe_engines(value.run).line}, run {value.run.identity}"
        lists[value.facts.get("better") == "higher"].append(item)
    smaller, bigger = (json.dumps(lists[key], indent=1) + "\n" for key in (False, True))
    return smaller, bigger


def to_bencher(values: Iterable[ExportedValue]) -> str:
    """Bencher Metric Format: a benchmark for each test and engine, with a measure for each metric."""
    benchmarks: dict[str, dict[str, dict[str, float]]] = {}
    for value in values:
        bounds = dict(zip(("lower_value", "upper_value"), value.interval, strict=True))
        metric = {"value": value.entry["value"], **{key: bound for key, bound in bounds.items() if bound is not None}}
        benchmarks.setdefault(value.series, {})[value.reading[:_LONGEST_MEASURE]] = metric
    return json.dumps(benchmarks, indent=1) + "\n"


def to_csv(values: Iterable[ExportedValue]) -> Iterator[str]:
    """The heading, then a line for each value."""
    yield _format_row(CSV_COLUMNS)
    for value in values:
        run, words = value.run, describe_engines(value.run)
        git = run.session.get("git") or {}
        cells = {
            "name": run.name,
            "fingerprint": run.fingerprint,
            "run": run.identity,
            "created": run.created.isoformat(),
            "commit": run.commit,
            "dirty": git.get("dirty"),
            "branch": git.get("branch"),
            "host": run.session.get("host"),
            "driver": run.session.get("driver"),
            "engine": run.engine.get("name"),
            "version": run.engine.get("version"),
            "model": words.model,
            "devices": words.devices,
            "settings": words.settings,
            "test": value.test,
            "outcome": run.tests[value.test].get("outcome"),
            "metric": value.reading,
            "value": value.entry["value"],
            "unit": value.unit,
            "better": value.facts.get("better"),
            "samples": value.entry.get("samples"),
        }
        yield _format_row([cells[column] for column in CSV_COLUMNS])


def _format_row(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(["" if cell is None else cell for cell in cells])
    return text.getvalue()


def to_openmetrics(values: Iterable[ExportedValue]) -> str:
    """Gauges in the OpenMetrics text format, one family for each metric, with the statistic as a label.

    What differs from run to run is in a family of its own, ``llmperf_run_info``, so that the series go on.
    """
    families: dict[str, list[ExportedValue]] = {}
    runs: dict[str, StoredRun] = {}
    for value in values:
        families.setdefault(value.metric, []).append(value)
        runs.setdefault(value.run.identity, value.run)
    lines = [line for metric, members in families.items() for line in _format_family(metric, members)]
    lines += _format_runs(list(runs.values()))
    return "".join(f"{line}\n" for line in [*lines, "# EOF"])


def _format_family(metric: str, members: Sequence[ExportedValue]) -> list[str]:
    unit = _UNIT_WORDS.get(members[0].unit) or _make_name(members[0].unit)
    name = _make_name(f"llmperf_{metric}_{unit}")
    lines = [f"# TYPE {name} gauge"]
    if unit:
        lines.append(f"# UNIT {name} {unit}")
    if formula := str(members[0].facts.get("formula") or ""):
        lines.append(f"# HELP {name} {_escape(formula)}")
    samples = [f"{name}{{{_format_labels(_label(value))}}} {float(value.entry['value'])!r}" for value in members]
    return [*lines, *samples]


def _label(value: ExportedValue) -> dict[str, str]:
    words = describe_engines(value.run)
    return {
        "test": value.test,
        "statistic": value.statistic,
        "engine": str(value.run.engine.get("label") or words.engine),
        "model": words.model,
        "devices": words.devices,
        "name": value.run.name,
        "fingerprint": value.run.fingerprint,
    }


def _format_runs(runs: Sequence[StoredRun]) -> list[str]:
    """What the values are of: facts on each run, and when it was reported."""
    if not runs:
        return []
    info = ["# TYPE llmperf_run info"]
    times = ["# TYPE llmperf_run_time_seconds gauge", "# UNIT llmperf_run_time_seconds seconds"]
    for run in runs:
        group = {"name": run.name, "fingerprint": run.fingerprint}
        facts = {
            "run": run.identity,
            "commit": run.commit,
            "version": str(run.engine.get("version") or ""),
            "host": str(run.session.get("host") or ""),
        }
        info.append(f"llmperf_run_info{{{_format_labels({**group, **facts})}}} 1")
        times.append(f"llmperf_run_time_seconds{{{_format_labels(group)}}} {run.created.timestamp()!r}")
    return [*info, *times]


def _format_labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items() if text)


def _make_name(text: str) -> str:
    return _NO_NAME.sub("_", text).strip("_")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
