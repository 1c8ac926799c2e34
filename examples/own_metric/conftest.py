"""Two metrics of the project's own, which markers, verdicts and reports then know like any other."""

from collections.abc import Sequence

from pytest_llmperf import (
    BYTES,
    SECONDS,
    DistributionMetric,
    Measurement,
    Metric,
    Reading,
    RequestTiming,
    SampleSource,
    ScalarMetric,
    register_metric,
)


def read_mean(measurement: Measurement, metric: Metric) -> Reading:
    """The mean of the samples of the engine's host memory, in bytes."""
    trace = measurement.memory
    if trace is None or not trace.samples:
        return Reading.missing(measurement.memory_missing or "there is no sample of the engine's memory")
    levels = [level for _, level in trace.samples]
    return Reading(sum(levels) / len(levels), trace.source, samples=len(levels))


def list_longest_gap(request: RequestTiming) -> Sequence[float]:
    """The longest pause between two chunks of an answer, in seconds; nothing for an answer of one chunk."""
    return [max(request.chunk_gaps)] if request.chunk_gaps else []


register_metric(
    ScalarMetric(
        name="memory.mean",
        quantity=BYTES,
        better="lower",
        formula="mean of the samples of the engine's host memory",
        source=SampleSource.HOST_SAMPLES,
        compute=read_mean,
    )
)
register_metric(
    DistributionMetric(
        name="latency.longest_gap",
        quantity=SECONDS,
        better="lower",
        formula="the longest gap between two chunks of an answer",
        source=SampleSource.REQUESTS,
        values=list_longest_gap,
    )
)
