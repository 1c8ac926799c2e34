"""One load as a point of a curve."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.interval import Confidence, find_interval
from pytest_llmperf.budgets.limit import select
from pytest_llmperf.measurement.capacity.result import MeasuredPoint
from pytest_llmperf.metrics.metric import DistributionMetric, Objective
from pytest_llmperf.metrics.statistics import Statistic
from pytest_llmperf.metrics.table import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.window import Window

_SHOWN = (("latency.ttft", (50.0, 95.0)), ("latency.tpot", (50.0,)), ("latency.e2e", (50.0,)))
_RATES = ("throughput.requests", "throughput.output", "throughput.goodput")
_QUEUE = "queue_mean_seconds"
"""Time in the queue of the server by its own clock, where each of its answers says it."""


def make_point(
    step: Measurement,
    limits: Sequence[Limit],
    *,
    rate: float | None = None,
    concurrency: int | None = None,
    left_out: str = "",
) -> MeasuredPoint:
    """The point of one load, which is all that ``step`` measured."""
    values, bounds = {}, {}
    for name, metric, statistic in _list_statistics(limits, step):
        found = metric.distribution(step)
        if not found.count:
            continue
        values[name] = value = statistic.of(found)
        evidence = metric.find_evidence(step)
        if evidence is None:
            continue
        interval = find_interval(evidence, statistic, value, metric.better, Confidence())
        if interval is not None:
            bounds[name] = (interval.low, interval.high)
    objectives = [
        Objective(limit.definition, limit.value)
        for limit in select(limits, step.engine)
        if isinstance(limit.definition, DistributionMetric) and not limit.relative
    ]
    for name in _RATES:
        reading = METRICS[name].read(step, None, objectives)
        if reading.value is not None:
            values[name] = reading.value
    if levels := [held for at_ns, held in step.kv_levels if step.window.start_ns <= at_ns < step.window.end_ns]:
        values["memory.kv_cache"] = float(max(levels))
    queued = [r.server.queue for r in step.judged if r.server is not None and r.server.queue is not None]
    if queued and len(queued) == len(step.judged):
        values[_QUEUE] = fmean(queued) / 1e9
    spans = step.spans if step.requests else ()
    seconds = sum(span.seconds for span in spans)
    return MeasuredPoint(
        rate,
        concurrency,
        len(step.judged),
        sum(1 for request in step.judged if request.error is not None),
        seconds,
        values,
        bounds,
        in_flight=_count_in_flight(step, spans) / seconds if seconds else 0.0,
        drain_s=_find_drain(step),
        left_out=left_out,
    )


def _list_statistics(limits: Sequence[Limit], step: Measurement) -> Iterator[tuple[str, DistributionMetric, Statistic]]:
    """Names, metrics and statistics of the latencies that a curve shows: some, and those that the test limits."""
    found: dict[str, tuple[DistributionMetric, Statistic]] = {}
    for name, percents in _SHOWN:
        metric = METRICS[name]
        assert isinstance(metric, DistributionMetric)
        for percent in percents:
            statistic = Statistic(percent)
            found[f"{name}_{statistic.suffix}"] = (metric, statistic)
    for limit in select(limits, step.engine):
        if isinstance(limit.definition, DistributionMetric) and limit.statistic is not None:
            found[limit.name] = (limit.definition, limit.statistic)
    return ((name, metric, statistic) for name, (metric, statistic) in found.items())


def _count_in_flight(step: Measurement, spans: Sequence[Window]) -> float:
    """The seconds of all requests within the spans, those that overlap added up."""
    return sum(
        max(0, min(request.end_ns, span.end_ns) - max(request.sent_ns, span.start_ns)) / 1e9
        for request in step.requests
        for span in spans
    )


def _find_drain(step: Measurement) -> float:
    if not step.requests:
        return 0.0
    return (max(r.end_ns for r in step.requests) - max(r.sent_ns for r in step.requests)) / 1e9
