"""Metrics of a project's own, as far as its reports tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.measurement.units import find_quantity
from pytest_llmperf.metrics.metric import DistributionMetric, SampleSource, ScalarMetric
from pytest_llmperf.metrics.table import METRICS, register_metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_llmperf.metrics.metric import Metric


def register_metrics_of(report: Mapping[str, Any]) -> None:
    """Registers what a report has beside the metrics that are known here, so that it can be limited.

    Such a metric reads what reports hold of it, and nothing of a measurement.

    Raises:
        ValueError: the name or the direction of a metric is none that it could have been registered with.
    """
    distributions = {name for test in report["tests"] for name in _list_distributions(test["measurement"])}
    for name, spec in report["metrics"].items():
        if name not in METRICS:
            register_metric(_make_metric(name, spec, is_distribution=name in distributions))


def _list_distributions(measurement: Mapping[str, Any]) -> Iterator[str]:
    for place in (measurement, *measurement.get("parts", ())):
        yield from place.get("distributions", ())


def _make_metric(name: str, spec: Mapping[str, Any], *, is_distribution: bool) -> Metric:
    about: dict[str, Any] = {
        "name": name,
        "quantity": find_quantity(spec["unit"]),
        "better": spec["better"],
        "formula": spec["formula"],
    }
    if is_distribution:
        return DistributionMetric(**about, source=SampleSource.REQUESTS, values=lambda _request: ())
    missing = Reading.missing("it is known from reports only")
    return ScalarMetric(**about, source=SampleSource.HOST_SAMPLES, compute=lambda _measurement, _metric: missing)
