"""Rates: what came within the spans that are judged, per second of them.

The span is first send → last response. Under load it is the steady part, in which requests of the warm-up still end and
requests of the steady part do not all end yet: so what counts is what came within it, whoever asked for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.chunks import edges, stamps
from pytest_llmperf.measurement.measurement import Reading
from pytest_llmperf.measurement.units import SECONDS, format_value
from pytest_llmperf.metrics.latency import NO_TOKEN_COUNT, samples, why_no_samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.measurement.window import Window


def read_throughput(key: str, formula: str, measurement: Measurement) -> Reading:
    """One of the throughput metrics, except for goodput, which depends on the limits of a test."""
    requests = measurement.requests
    answered = [r for r in requests if r.error is None]
    if not answered:
        return Reading.missing(why_no_samples(key, requests))
    if key == "per_user":
        return _per_user(formula, measurement)
    if key == "goodput":
        return Reading.missing("goodput counts requests that met the latency limits of a test: see its verdict")
    if key == "requests":
        return rate(len(ended_within(answered, measurement.spans)), formula, measurement)
    if any(r.output_tokens is None or (key == "total" and r.prompt_tokens is None) for r in answered):
        return Reading.missing(NO_TOKEN_COUNT)
    count = sum(_output_within(r, measurement.spans) for r in answered)
    if key == "total":
        count += sum(r.prompt_tokens or 0 for r in answered if _within(_read_at(r), measurement.spans))
    return rate(count, formula, measurement)


def rate(count: float, formula: str, measurement: Measurement) -> Reading:
    """``count`` per second of the spans that are judged."""
    span_ns = sum(span.end_ns - span.start_ns for span in measurement.spans)
    if span_ns <= 0:
        return Reading.missing("the requests took no time")
    part = f", over the steady part of {format_value(span_ns / 1e9, SECONDS)}" if measurement.loads else ""
    return Reading(count * 1e9 / span_ns, f"{formula}{part}", samples=len(measurement.requests))


def ended_within(requests: Sequence[RequestTiming], spans: Sequence[Window]) -> list[RequestTiming]:
    """The requests whose last byte came within the spans."""
    return [r for r in requests if _within(r.end_ns, spans)]


def _per_user(formula: str, measurement: Measurement) -> Reading:
    times = samples(measurement.judged, "tpot")
    if not times:
        return Reading.missing(why_no_samples("tpot", measurement.judged))
    if sum(times) <= 0:
        return Reading.missing("the tokens of each answer arrived all at once")
    return Reading(len(times) / sum(times), formula, samples=len(times))


def _within(at_ns: int, spans: Sequence[Window]) -> bool:
    return any(span.start_ns <= at_ns <= span.end_ns for span in spans)


def _read_at(request: RequestTiming) -> int:
    """When its prompt had been read: at the first token of its answer."""
    return edges(request.chunks)[0] if request.chunks else request.end_ns


def _output_within(request: RequestTiming, spans: Sequence[Window]) -> float:
    """Its output tokens that came within the spans; each chunk has an even share where nobody counted them."""
    whole = request.output_tokens or 0
    if any(span.start_ns <= request.sent_ns and request.end_ns <= span.end_ns for span in spans):
        return whole
    if not request.chunks:
        return whole if _within(request.end_ns, spans) else 0
    counts = request.tokens_per_chunk or [1] * len(request.chunks)
    inside = [_within(at_ns, spans) for at_ns in stamps(request.chunks)]
    return whole * sum(n for n, came in zip(counts, inside, strict=True) if came) / max(1, sum(counts))
