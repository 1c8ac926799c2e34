"""Why verdicts on a stored measurement are INVALID: kept with it, so that whoever judges it again finds out as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pytest_llmperf.budgets.server_clock import why_stamps_are_not_the_engines
from pytest_llmperf.budgets.validity import why_disturbed, why_invalid
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.metrics.metric import DistributionMetric
from pytest_llmperf.metrics.missing import why_raised
from pytest_llmperf.metrics.statistics import Statistic
from pytest_llmperf.metrics.table import list_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.metrics.metric import Metric

Undoes = Literal["any", "pass", "fail"]
_STATISTICS = (Statistic(50.0), Statistic(95.0), Statistic(99.0), Statistic(None))


@dataclass(frozen=True)
class Objection:
    """One reason why verdicts on some metrics of a measurement are INVALID.

    Attributes:
        reason: one sentence.
        undoes: which of them: ``any``, ``pass`` for a PASS, ``fail`` for a FAIL or what is INCONCLUSIVE.
        metrics: the names of the metrics.
    """

    reason: str
    undoes: Undoes
    metrics: tuple[str, ...]

    def applies_to(self, metric: str, status: Status) -> bool:
        """Whether a verdict with this status on this metric is INVALID."""
        if metric not in self.metrics:
            return False
        undone = {"pass": (Status.PASS,), "fail": (Status.FAIL, Status.INCONCLUSIVE)}
        return self.undoes == "any" or status in undone[self.undoes]


def find_objections(measurement: Measurement) -> list[Objection]:
    """Every reason that makes verdicts on a metric of this measurement INVALID, limited in the test or not.

    Whether the lag of a client or the waiting for cores decided a verdict depends on its limit, and some reasons on
    its percentile. The limit to come is not known, so that they are taken to have decided it.
    """
    found: dict[tuple[str, Undoes], list[str]] = {}
    for metric in list_metrics(measurement):
        if metric.works != measurement.works and not metric.select(measurement).requests:
            continue  # Most tests send nothing to embed: there is no value to object to.
        for undoes, reason in _list_reasons(metric, measurement):
            if reason:
                found.setdefault((reason, undoes), []).append(metric.name)
    return [Objection(reason, undoes, tuple(names)) for (reason, undoes), names in found.items()]


def _list_reasons(metric: Metric, measurement: Measurement) -> Iterator[tuple[Undoes, str]]:
    measurement = metric.select(measurement)
    statistics = _STATISTICS if isinstance(metric, DistributionMetric) else (None,)

    def find(why: Callable[[Statistic | None], str]) -> str:
        return next(filter(None, map(why, statistics)), "")

    try:
        reason = why_invalid(metric, measurement)
        reason = reason or find(lambda one: why_stamps_are_not_the_engines(metric, one, measurement))
        good = find(lambda one: why_disturbed(metric, measurement, one, holds=True))
        bad = find(lambda one: why_disturbed(metric, measurement, one, holds=False))
    except Exception as error:  # a metric may be another package's, and the others are still to be asked
        yield "any", why_raised(error)
        return
    if reason:
        yield "any", reason
        return
    yield "pass", good
    yield "fail", bad


def objections_to_wire(objections: Sequence[Objection]) -> list[dict[str, Any]]:
    """As plain data: ``reason``, ``undoes`` and ``metrics`` of each."""
    return [{"reason": str(one.reason), "undoes": one.undoes, "metrics": list(one.metrics)} for one in objections]


def objections_from_wire(data: Sequence[Mapping[str, Any]]) -> list[Objection]:
    """What :func:`objections_to_wire` made the data of.

    Raises:
        KeyError: a part is missing.
    """
    return [Objection(one["reason"], one["undoes"], tuple(one["metrics"])) for one in data]
