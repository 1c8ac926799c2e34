"""From two snapshots of a page, and the looks between them, to the values of metrics."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.reading import Missing, PageReading, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.pages.definition import PageMetric
    from pytest_llmperf.measurement.pages.series import PageSeries
    from pytest_llmperf.system.prometheus import Sample
    from pytest_llmperf.telemetry.pages.snapshot import PageLooks, Snapshot


def compute_reading(
    metric: PageMetric, before: Snapshot, after: Snapshot, looks: PageLooks, seconds: float
) -> PageReading:
    """The value of a metric over a test that took so long; missing with the reason if the page does not give it."""
    found = _compute(metric, before, after, looks, seconds)
    if isinstance(found, Missing):
        return PageReading(Reading.missing(found.reason))
    fault = find_restart(before, after, looks) or _find_reset(metric, before, after, looks)
    value, low, high, samples = found
    least, most = (None if one is None else one * metric.scale for one in (low, high))
    is_bounded = low != high
    bounded = "within its bucket" if metric.kind == "histogram" else "no look fell into the test, only its two ends"
    how = f"{metric.formula}; {bounded}" if is_bounded else metric.formula
    return PageReading(Reading(value * metric.scale, how, samples=samples), fault, is_bounded, least, most)


def find_restart(before: Snapshot, after: Snapshot, looks: PageLooks) -> str:
    """Whether the server is another one than at the beginning, in one sentence; empty if not, or if it does not say."""
    if before.failure or after.failure:
        return ""
    seen = {math.fsum(before.started), math.fsum(after.started), *looks.started}
    if before.started and len(seen) > 1:
        return "the server of the page was started afresh during the test: its process start time changed"
    return ""


Found = tuple[float, float | None, float | None, int]
"""A value, between which it lies (twice itself if it is exact), and of how many observations it is."""


def _compute(
    metric: PageMetric, before: Snapshot, after: Snapshot, looks: PageLooks, seconds: float
) -> Found | Missing:
    match metric.kind:
        case "gauge":
            return _read_gauge(metric, before, after, looks)
        case "counter":
            return _read_counter(metric, before, after, seconds)
        case _:
            return _read_histogram(metric, before, after)


def _read_gauge(metric: PageMetric, before: Snapshot, after: Snapshot, looks: PageLooks) -> Found | Missing:
    edges = []
    for snapshot in (before, after):
        found = snapshot.find(metric.series)
        if isinstance(found, Missing):
            return found
        if len(found) > 1 or looks.most_samples.get(metric.series.text, 0) > 1:
            labels = ", ".join(f'{key}="{value}"' for key, value in found[0].labels.items())
            return Missing(
                f"the page has several series of {metric.series.text}: add labels, such as those of {labels}"
            )
        edges.append(found[0].value)
    if looks.failure and metric.take != "last":
        return Missing(looks.failure)
    values = [edges[0], *looks.values.get(metric.series.text, ()), edges[1]]
    if not all(map(math.isfinite, values)):
        return Missing(f"the page stated a value of {metric.series.text} that is not finite")
    if metric.take == "last":
        return values[-1], None, None, len(values)
    if len(values) == len(edges):
        return _read_edges(metric, edges)
    value = {"max": max(values), "min": min(values), "mean": math.fsum(values) / len(values)}
    return value[metric.take], None, None, len(values)


def _read_edges(metric: PageMetric, edges: Sequence[float]) -> Found | Missing:
    """What the two ends of a test prove of a gauge that nobody looked at in between: a bound on one side."""
    if metric.take == "mean":
        return Missing(f"no look at {metric.series.text} fell into the test, which was too short for one")
    if metric.take == "max":
        return max(edges), max(edges), None, len(edges)
    return min(edges), None, min(edges), len(edges)


def _read_counter(metric: PageMetric, before: Snapshot, after: Snapshot, seconds: float) -> Found | Missing:
    rise = _find_rise(metric.series, before, after)
    if isinstance(rise, Missing):
        return rise
    if metric.per is not None:
        whole = _find_rise(metric.per, before, after)
        if isinstance(whole, Missing):
            return whole
        if not whole:
            return Missing(f"{metric.per.text} did not rise during the test")
        return rise / whole, None, None, 2
    if metric.take == "rate":
        return (rise / seconds, None, None, 2) if seconds > 0 else Missing("the test took no time")
    return rise, None, None, 2


def _find_rise(series: PageSeries, before: Snapshot, after: Snapshot) -> float | Missing:
    """What the counters rose by. One that appears in the test began at 0, if the server is known to be the same."""
    last = after.add_up(series)
    if isinstance(last, Missing):
        return last
    first = before.add_up(series)
    if isinstance(first, Missing):
        appeared = not before.failure and not any(series.matches(s.name, s.labels) for s in before.samples)
        if appeared and before.started and before.started == after.started:
            return last
        return Missing(f"before the test: {first.reason}")
    return last - first


def _read_histogram(metric: PageMetric, before: Snapshot, after: Snapshot) -> Found | Missing:
    count = _find_rise(metric.series.rename("_count"), before, after)
    if isinstance(count, Missing):
        return count
    if count <= 0:
        return Missing(f"{metric.series.text} had no value during the test")
    if metric.percentile is None:
        total = _find_rise(metric.series.rename("_sum"), before, after)
        return total if isinstance(total, Missing) else (total / count, None, None, round(count))
    first, last = before.read_buckets(metric.series), after.read_buckets(metric.series)
    for found in (first, last):
        if isinstance(found, Missing):
            return found
    return _find_percentile(metric.series, metric.percentile, first, last, round(count))  # type: ignore[arg-type]


def _find_percentile(
    series: PageSeries, percent: float, first: Mapping[float, float], last: Mapping[float, float], count: int
) -> Found | Missing:
    """As Prometheus estimates it, evenly within its bucket; the truth is between the bounds of the bucket."""
    rises = [(bound, total - first.get(bound, 0.0)) for bound, total in last.items()]
    if first.keys() != last.keys() or not rises or rises[-1][0] != math.inf:
        return Missing(f'the buckets of {series.text} changed during the test, or have no last one (le="+Inf")')
    totals = [rise for _, rise in rises]
    if any(b < a for a, b in itertools.pairwise(totals)) or totals[-1] <= 0:
        return Missing(f"the buckets of {series.text} do not add up")
    wanted = percent / 100 * totals[-1]
    at = next(place for place, total in enumerate(totals) if total >= wanted)
    high = rises[at][0]
    low, below = rises[at - 1] if at else (min(0.0, high), 0.0)
    if high == math.inf:
        return (low, low, None, count) if at else Missing(f"{series.text} has one bucket only")
    share = (wanted - below) / (totals[at] - below)
    return low + (high - low) * share, low, high, count


def _find_reset(metric: PageMetric, before: Snapshot, after: Snapshot, looks: PageLooks) -> str:
    """Which counter of a metric fell during the test, in one sentence; empty if none did."""
    now = {_identify(sample): sample.value for sample in after.samples}
    for series in metric.counters:
        then = [sample for sample in before.samples if series.matches(sample.name, sample.labels)]
        has_fallen = any(now.get(_identify(sample), -math.inf) < sample.value for sample in then)
        if has_fallen or _falls(before, after, looks, series) or _was_created_anew(series, before, after):
            return f"the counter {series.text} was set back during the test"
    return ""


def _identify(sample: Sample) -> tuple[str, tuple[tuple[str, str], ...]]:
    return sample.name, tuple(sorted(sample.labels.items()))


def _falls(before: Snapshot, after: Snapshot, looks: PageLooks, series: PageSeries) -> bool:
    seen: Sequence[float] = looks.values.get(series.text, ())
    edges = [before.add_up(series), *seen, after.add_up(series)]
    values = [value for value in edges if not isinstance(value, Missing)]
    return any(later < earlier for earlier, later in itertools.pairwise(values))


def _was_created_anew(series: PageSeries, before: Snapshot, after: Snapshot) -> bool:
    """Whether a counter began at another moment, as its ``_created`` says."""
    name = series.name.removesuffix("_total") + "_created"

    def list_created(snapshot: Snapshot) -> dict[tuple[tuple[str, str], ...], float]:
        return {
            tuple(sorted(sample.labels.items())): sample.value
            for sample in snapshot.samples
            if sample.name == name and all(sample.labels.get(key) == value for key, value in series.labels)
        }

    then, now = list_created(before), list_created(after)
    return any(labels in now and now[labels] != moment for labels, moment in then.items())
