"""Metrics that a project reads from metrics pages, as rows of the table of all metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.metrics.evidence import Bounds
from pytest_llmperf.metrics.metric import Metric, SampleSource, ScalarMetric
from pytest_llmperf.metrics.statistics import minimum_samples

if TYPE_CHECKING:
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.pages.definition import PageMetric


def make_page_metric(definition: PageMetric) -> ScalarMetric:
    """The metric that a table of ``llmperf.toml`` defines."""
    return ScalarMetric(
        name=definition.name,
        quantity=definition.quantity,
        better=definition.better,
        formula=definition.formula,
        source=SampleSource.PAGES,
        compute=lambda measurement, metric: _read(measurement, metric, definition),
        evidence=lambda measurement: _find_bounds(measurement, definition.name),
    )


def why_untrusted(measurement: Measurement, name: str) -> str:
    """Why the value that was read from a page cannot be trusted, in one sentence; empty if it can."""
    found = measurement.page_readings.get(name)
    return "" if found is None else found.fault


def _read(measurement: Measurement, metric: Metric, definition: PageMetric) -> Reading:
    found = measurement.page_readings.get(metric.name)
    if found is None:
        return Reading.missing(_why_unread(measurement))
    percent, given = definition.percentile, found.reading.samples or 0
    if percent is None or found.reading.value is None or given >= minimum_samples(percent):
        return found.reading
    needs = f"{definition.take} needs {minimum_samples(percent)} values"
    return Reading.missing(f"{needs}, and {definition.series.text} had {given} during the test")


def _why_unread(measurement: Measurement) -> str:
    if measurement.engine is None:
        return "the test used no engine"
    if measurement.parts:
        return "the test has several engines: limit it for one of them, engine='LABEL'"
    return "no metrics page was read in the test"


def _find_bounds(measurement: Measurement, name: str) -> Bounds | None:
    found = measurement.page_readings.get(name)
    return Bounds(found.low, found.high) if found is not None and found.is_bounded else None
