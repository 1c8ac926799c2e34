"""The metrics of a measurement as plain data: their values, and what tells how far the truth may be from these."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.interval import count_effective, estimate_rate_noise, keep_share
from pytest_llmperf.measurement.units import PRICE
from pytest_llmperf.metrics.evidence import Bounds, RateUnits, RequestValues, SensorAccuracy, ShareUnits
from pytest_llmperf.metrics.metric import DistributionMetric, ObjectiveMetric
from pytest_llmperf.metrics.missing import why_raised
from pytest_llmperf.metrics.rows import ROWS
from pytest_llmperf.metrics.statistics import Statistic, split_key
from pytest_llmperf.metrics.table import find, list_metrics
from pytest_llmperf.metrics.table import find_metric as find_row
from pytest_llmperf.reports.wire.histogram import make_histogram
from pytest_llmperf.reports.wire.numbers import ROUGH, to_count, to_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.reading import Reading
    from pytest_llmperf.metrics.metric import Metric

STATISTICS = tuple(Statistic(percent) for percent in (50.0, 95.0, 99.0, None))
MOST_REQUESTS = 10_000
"""Of more requests so many, evenly apart, tell how many independent ones all are worth."""
VALUES_OF = "all its values are those of"
"""How the reason begins for which a latency has no readings of its own: another one has the same values."""
_DECIDING = tuple(Statistic(percent) for percent in (50.0, 95.0, 99.0))


def metrics_to_wire(measurement: Measurement) -> dict[str, dict[str, str]]:
    """Unit, better direction and formula of every metric, by its name; the unit of costs is their currency."""
    return {
        str(metric.name): {
            "unit": str(metric.quantity_in(measurement).base),
            "better": str(metric.better),
            "formula": str(metric.formula),
        }
        for metric in list_priced(list_metrics(measurement), measurement)
    }


def list_priced(metrics: Iterable[Metric], measurement: Measurement) -> list[Metric]:
    """The metrics without those of costs, where no prices are known."""
    return [one for one in metrics if one.quantity is not PRICE or measurement.prices is not None]


def readings_to_wire(
    metrics: Iterable[Metric], measurement: Measurement, limit_names: Iterable[str] = ()
) -> dict[str, Any]:
    """``readings``: the values by name as limited; ``missing``: the names without a value by the reason for it.

    A latency has a reading for each statistic (``latency.ttft_p95``), and one for that of each of ``limit_names``;
    where it has no sample at all, or only those of another latency, it is missing under its own name. A percentile
    that needs more requests than there were is named only if it is one of ``limit_names``. The values of these are
    exact.
    """
    names = list(limit_names)
    found: dict[str, Reading] = {}
    missing: dict[str, list[str]] = {}
    for metric in list_priced(metrics, measurement):
        try:
            if twin := _find_twin(metric, names, measurement):
                missing.setdefault(f"{VALUES_OF} {twin}", []).append(metric.name)
            else:
                found.update(_read(metric, names, measurement))
        except Exception as error:  # a metric may be another package's, and the others are still to be read
            missing.setdefault(why_raised(error), []).append(metric.name)
    readings = {}
    for name, reading in found.items():
        value = to_number(reading.value)
        if value is None and reading.needs_more and name not in names:
            continue
        if value is None:
            reason = reading.reason if reading.value is None else "the value is not a finite number"
            missing.setdefault(str(reason), []).append(name)
        else:
            exact = value if reading.value is None or name not in names else float(reading.value)
            readings[name] = _reading_to_wire(exact, reading, find_row(name), measurement)
    return {"readings": readings, "missing": missing}


def find_metric(measurement: Mapping[str, Any], name: str) -> Mapping[str, str]:
    """Unit, direction and formula of a reading of a measurement in its wire form.

    Raises:
        KeyError: the measurement knows no such metric.
    """
    found: Mapping[str, str] = measurement["metrics"][find_metric_name(name)]
    return found


def find_metric_name(reading: str) -> str:
    """``latency.ttft`` of ``latency.ttft_p95``: the metric that a reading is one of."""
    group, _, key = reading.partition(".")
    return f"{group}.{split_key(key)[0]}"


def find_reason(measurement: Mapping[str, Any], name: str) -> str:
    """Why a measurement in its wire form has no reading of this name; empty if it has one, or knows no such name."""
    return next((reason for reason, names in measurement["missing"].items() if name in names), "")


def _reading_to_wire(value: float, reading: Reading, scalar: Metric | None, measurement: Measurement) -> dict[str, Any]:
    found: dict[str, Any] = {"value": value}
    if reading.samples is not None:
        found["samples"] = to_count(reading.samples)
    source = measurement.memory.source if measurement.memory else ""
    if scalar is not None and reading.how and reading.how not in (scalar.formula, source):
        found["how"] = str(reading.how)
    return found


def _find_twin(metric: Metric, limit_names: Sequence[str], measurement: Measurement) -> str:
    """The latency before this one that has the same values; empty if none has, or this one has a limit of its own."""
    if not isinstance(metric, DistributionMetric) or any(find(name)[0] is metric for name in limit_names):
        return ""
    measurement = metric.select(measurement)
    values = metric.distribution(measurement)
    for other in itertools.takewhile(lambda one: one is not metric, ROWS):
        if (
            isinstance(other, DistributionMetric)
            and other.works == metric.works
            and values.count
            and values.is_same_as(other.distribution(measurement))
        ):
            return other.name
    return ""


def _read(metric: Metric, limit_names: Sequence[str], measurement: Measurement) -> dict[str, Reading]:
    match metric:
        case DistributionMetric():
            return _read_distribution(metric, limit_names, measurement)
        case ObjectiveMetric():
            return {}  # It depends on the limits of the test: the judge reads it, and the verdict carries it.
        case _:
            return {metric.name: metric.read(measurement)}


def _read_distribution(
    metric: DistributionMetric, limit_names: Sequence[str], measurement: Measurement
) -> dict[str, Reading]:
    if not metric.distribution(metric.select(measurement)).count:
        return {metric.name: metric.read(measurement, STATISTICS[0])}
    limited = [statistic for base, statistic in map(find, limit_names) if base is metric and statistic is not None]
    statistics = dict.fromkeys((*STATISTICS, *limited))
    return {f"{metric.name}_{one.suffix}": metric.read(measurement, one) for one in statistics}


# -------------------------------------------------------------------------------------------------- evidence


def evidence_to_wire(measurement: Measurement, limit_names: Iterable[str] = ()) -> dict[str, Any]:
    """``distributions`` of the latencies, and ``evidence`` of the other metrics that are not exact, by their names."""
    distributions, evidence, names = {}, {}, list(limit_names)
    for metric in list_metrics(measurement):
        try:
            if isinstance(metric, DistributionMetric):
                if metric.distribution(metric.select(measurement)).count and not _find_twin(metric, names, measurement):
                    distributions[metric.name] = _distribution_to_wire(metric, metric.select(measurement))
            elif kept := _keep_evidence(metric, measurement):
                evidence[metric.name] = kept
        except Exception:  # its reading says why
            continue
    return {"distributions": distributions, "evidence": evidence}


def _distribution_to_wire(metric: DistributionMetric, measurement: Measurement) -> dict[str, Any]:
    values = metric.distribution(measurement)
    return {
        "count": int(values.count),
        "requests": int(values.contributors),
        "effective": to_number(_count_effective(metric, measurement), ROUGH),
        "min": to_number(values.value_at(1)),
        "mean": to_number(values.mean),
        "histogram": make_histogram(values),
    }


def _count_effective(metric: DistributionMetric, measurement: Measurement) -> float:
    """The number of independent values that all are worth: the least of that at p50, at p95 and at p99."""
    step = -(-len(measurement.judged) // MOST_REQUESTS)
    few = measurement if step <= 1 else replace(measurement, requests=measurement.judged[::step])
    evidence = metric.find_evidence(few)
    if not isinstance(evidence, RequestValues) or not evidence.requests:
        return 0.0
    values = metric.distribution(measurement)
    return min(count_effective(evidence, statistic.of(values)) for statistic in _DECIDING)


def _keep_evidence(metric: Metric, measurement: Measurement) -> dict[str, Any] | None:
    """That of a rate or of a sensor; None for a metric that is exact, has no value, or depends on limits."""
    if isinstance(metric, ObjectiveMetric) or metric.read(measurement).value is None:
        return None
    match evidence := metric.find_evidence(measurement):
        case ShareUnits():
            share = keep_share(evidence)
            return {"units": int(share.units), "effective": to_number(share.effective, ROUGH), "unit": str(share.unit)}
        case Bounds():
            return {"low": to_number(evidence.low), "high": to_number(evidence.high)}
        case SensorAccuracy():
            return {"share": to_number(evidence.share)}
        case RateUnits() if sum(evidence.counts) > 0 and sum(evidence.spans) > 0:
            kept = estimate_rate_noise(evidence)
            return {
                "units": int(kept.units),
                "effective": to_number(kept.effective, ROUGH),
                "unit": str(kept.unit),
                "noise": to_number(kept.noise, ROUGH),
            }
        case _:
            return None
