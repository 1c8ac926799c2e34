"""A measurement as a report keeps it: its values, and what they say of how far the truth may be from them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.limit import is_comparison
from pytest_llmperf.budgets.stored.validity import Objection, objections_from_wire
from pytest_llmperf.measurement.engine_info import Device, EngineInfo
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.metrics.evidence import BinnedValues, Bounds, RateNoise, SensorAccuracy, ShareCount
from pytest_llmperf.metrics.metric import DistributionMetric, ObjectiveMetric, SampleSource
from pytest_llmperf.reports.wire.histogram import list_buckets
from pytest_llmperf.reports.wire.readings import VALUES_OF, find_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.metrics.evidence import Evidence
    from pytest_llmperf.metrics.metric import Metric
    from pytest_llmperf.metrics.statistics import Statistic

_NOISY = (SampleSource.REQUESTS, SampleSource.ENERGY_COUNTERS)


class StoredMeasurement:
    """The ``measurement`` of a test in a report that was read, or one of its parts."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data
        self.label: str = data.get("label") or ""
        self.is_sequential = data.get("looks") is not None
        self.engine_seconds: float | None = data.get("engine_seconds")

    @property
    def engine(self) -> EngineInfo | None:
        """The engine that was measured; None for a test without one, or with several."""
        data = self._data.get("engine")
        if not data:
            return None
        devices = tuple(Device(one["kind"], one["name"], one.get("uuid", "")) for one in data.get("devices", ()))
        variant = data["label"] if data["label"] != f"{data['name']}:{data['model']}" else ""
        return EngineInfo(data["name"], data["version"], data["model"], devices, variant=variant)

    @property
    def parts(self) -> list[StoredMeasurement]:
        """One for each engine, if the test had several."""
        return [StoredMeasurement(part) for part in self._data.get("parts") or ()]

    @property
    def objections(self) -> list[Objection]:
        """Why verdicts on its metrics are INVALID."""
        return objections_from_wire(self._data["validity"])

    @property
    def names(self) -> Iterable[str]:
        """The names of all readings that have a value, as they are limited: ``latency.ttft_p95``."""
        return self._data["readings"]  # type: ignore[no-any-return]

    def read(self, metric: Metric, statistic: Statistic | None) -> Reading:
        """The value of a metric, or why there is none; a percentile that was not kept is read from the buckets."""
        name = metric.name + (f"_{statistic.suffix}" if statistic else "")
        if stored := self._data["readings"].get(name):
            return Reading(stored["value"], stored.get("how", metric.formula), samples=stored.get("samples"))
        for known in (name, metric.name, f"{metric.name}_p50"):
            if reason := find_reason(self._data, known):
                return Reading.missing(reason)
        values = self._find_buckets(metric)
        if values is None or statistic is None or statistic.percentile is None:
            return Reading.missing(f"the report has no {name}")
        return self._read_percentile(metric, statistic, values)

    def why_other_comparison(self, limit: Limit) -> str:
        """Why its comparison of next tokens is not the one that a limit asks for; empty if it is, or there is none."""
        found = self._data.get("quality") or {}
        reference = found.get("reference")
        if not is_comparison(limit) or reference is None:
            return ""
        against, text = limit.against, limit.text_file
        as_told = (against, f"{against} itself, asked twice")
        if against is not None and reference not in as_told and not reference.endswith(f" in {against}"):
            return f"the run compared next tokens with {reference}, and not with {against}"
        if text is not None and found.get("text") != text:
            return f"the run asked for next tokens at positions of {found.get('text')}, and not of {text}"
        return ""

    def has_values_of(self, metric: Metric) -> bool:
        """Whether a latency was measured, even if by too few requests for a percentile, or under another name."""
        is_twin = find_reason(self._data, metric.name).startswith(VALUES_OF)
        return is_twin or self._find_buckets(metric) is not None

    def _read_percentile(self, metric: Metric, statistic: Statistic, values: BinnedValues) -> Reading:
        if values.requests < statistic.minimum:
            too_few = f"{statistic.suffix} needs {statistic.minimum} requests, the test gave {values.requests}"
            return Reading.missing(too_few)
        rank = max(1, math.ceil(round((statistic.percentile or 0.0) / 100 * values.count, 9)))
        value = values.value_at(rank)
        return Reading(
            value, f"{metric.formula}, to 1 % from the buckets of {values.count} values", samples=values.count
        )

    def find_evidence(self, metric: Metric) -> Evidence | None:
        """What its value says of its noise; None if it is exact, or if the report has none: :meth:`why_no_evidence`."""
        if isinstance(metric, DistributionMetric):
            return self._find_buckets(metric)
        data = self._data["evidence"].get(metric.name)
        if data is None:
            return None
        if "low" in data:
            return Bounds(data["low"], data["high"])
        if "share" in data:
            return SensorAccuracy(data["share"])
        if "noise" not in data:
            return ShareCount(data["units"], data["effective"], data["unit"])
        return RateNoise(data["noise"], data["units"], data["effective"], data["unit"])

    def why_no_evidence(self, metric: Metric, statistic: Statistic | None) -> str:
        """Why a value must not be taken as exact although there is no evidence of its noise; empty if it may."""
        if statistic is not None and statistic.percentile is None:
            return ""
        if isinstance(metric, ObjectiveMetric):
            return f"the report holds {metric.name} for the limits that its test had, and these are others"
        if metric.source in _NOISY and self.find_evidence(metric) is None:
            return f"the report does not say how far the truth may be from {metric.name}"
        return ""

    def _find_buckets(self, metric: Metric) -> BinnedValues | None:
        data = self._data["distributions"].get(metric.name)
        if not data or not data["count"]:
            return None
        return BinnedValues(list_buckets(data["histogram"]), data["requests"], data["effective"])
