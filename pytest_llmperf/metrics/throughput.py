"""Rates: what came within the spans that are judged, per second of them.

The span is first send → last response. Under load it is the steady part, in which requests of the warm-up still end and
requests of the steady part do not all end yet: so what counts is what came within it, whichever request it belongs to.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.chunks import find_edges, list_stamps
from pytest_llmperf.measurement.reading import Missing, Reading
from pytest_llmperf.measurement.units import SECONDS, format_value
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.metrics.evidence import RateUnits, count_in_units, find_engines, measure_progress
from pytest_llmperf.metrics.missing import NO_TOKEN_COUNT, why_no_request, why_no_token_times, why_unanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.metrics.metric import Metric, Objective


def read_output(measurement: Measurement, metric: Metric) -> Reading:
    """Output tokens per second."""
    answered = _find_counted(measurement, lambda r: r.output_tokens is not None)
    if isinstance(answered, Missing):
        return Reading.missing(answered.reason)
    return compute_rate(_count_output(answered, measurement.spans), metric.formula, measurement)


def read_total(measurement: Measurement, metric: Metric) -> Reading:
    """Output and prompt tokens per second; a prompt counts when the first token of its answer came."""
    answered = _find_counted(measurement, lambda r: r.output_tokens is not None and r.prompt_tokens is not None)
    if isinstance(answered, Missing):
        return Reading.missing(answered.reason)
    count = _count_output(answered, measurement.spans)
    count += sum(r.prompt_tokens or 0 for r in answered if _is_within(_read_at(r), measurement.spans))
    return compute_rate(count, metric.formula, measurement)


def read_requests(measurement: Measurement, metric: Metric) -> Reading:
    """Answered requests per second; a request counts when its last byte came."""
    if reason := _why_unanswered(measurement):
        return Reading.missing(reason)
    answered = [r for r in measurement.requests if r.error is None]
    return compute_rate(len(find_ended(answered, measurement.spans)), metric.formula, measurement)


def read_inputs(measurement: Measurement, metric: Metric) -> Reading:
    """Texts embedded, ranked or scored per second; they count when the last byte of their answer came."""
    return _read_inputs(measurement, metric, lambda request: request.inputs)


def read_input_tokens(measurement: Measurement, metric: Metric) -> Reading:
    """Tokens of these texts per second, as the server counts them."""
    if any(request.error is None and request.prompt_tokens is None for request in measurement.requests):
        return Reading.missing("the server gave no count of tokens for every answer")
    return _read_inputs(measurement, metric, lambda request: request.prompt_tokens or 0)


def _read_inputs(measurement: Measurement, metric: Metric, count: Callable[[RequestTiming], int]) -> Reading:
    if reason := _why_unanswered(measurement):
        return Reading.missing(reason)
    ended = find_ended(_list_answered(measurement), measurement.spans)
    return compute_rate(sum(map(count, ended)), metric.formula, measurement)


def read_per_user(measurement: Measurement, metric: Metric) -> Reading:
    """Tokens per second that one request gets: one over the mean TPOT of the judged requests."""
    if reason := _why_unanswered(measurement):
        return Reading.missing(reason)
    times = [tpot for r in measurement.judged if r.error is None and (tpot := r.tpot) is not None]
    if not times:
        return Reading.missing(why_no_token_times(measurement.judged, "tpot"))
    if sum(times) <= 0:
        return Reading.missing("the tokens of each answer arrived all at once")
    return Reading(len(times) / sum(times), metric.formula, samples=len(times))


def read_goodput(measurement: Measurement, objectives: Sequence[Objective] | None, metric: Metric) -> Reading:
    """Requests per second that met every objective; a failed request never does."""
    if objectives is None:
        return Reading.missing("goodput counts requests that met the latency limits of a test: see its verdict")
    if not objectives:
        return Reading.missing("goodput counts requests that met the latency limits: add a latency_budget to the test")
    if not measurement.requests:
        return Reading.missing(why_no_request(measurement))
    good = 0
    for request in find_ended(measurement.requests, measurement.spans):
        met = [objective.is_met_by(request) for objective in objectives]
        if None in met:
            unknown = objectives[met.index(None)].metric
            reason = unknown.why_none([request], unknown.key)
            return Reading.missing(f"{unknown.key} is not known of every answer: {reason}")
        good += all(met)
    return compute_rate(good, metric.formula, measurement)


def compute_rate(count: float, formula: str, measurement: Measurement) -> Reading:
    """``count`` per second of the spans that are judged; missing if they have no length."""
    span_ns = sum(span.end_ns - span.start_ns for span in measurement.spans)
    if span_ns <= 0:
        return Reading.missing("the requests took no time")
    part = f", over the steady part of {format_value(span_ns / 1e9, SECONDS)}" if measurement.loads else ""
    return Reading(count * 1e9 / span_ns, f"{formula}{part}", samples=len(measurement.requests))


def find_ended(requests: Sequence[RequestTiming], spans: Sequence[Window]) -> list[RequestTiming]:
    """The requests whose last byte came within the spans."""
    return [r for r in requests if _is_within(r.end_ns, spans)]


def _find_counted(
    measurement: Measurement, is_counted: Callable[[RequestTiming], bool]
) -> Sequence[RequestTiming] | Missing:
    """The answered requests; missing if there is none, or if the server did not count the tokens of one."""
    if reason := _why_unanswered(measurement):
        return Missing(reason)
    answered = [r for r in measurement.requests if r.error is None]
    return answered if all(map(is_counted, answered)) else Missing(NO_TOKEN_COUNT)


def _why_unanswered(measurement: Measurement) -> str:
    """Why there is no answered request; empty if there is one."""
    return why_unanswered(measurement.requests) if measurement.requests else why_no_request(measurement)


def _is_within(at_ns: int, spans: Sequence[Window]) -> bool:
    return any(span.start_ns <= at_ns <= span.end_ns for span in spans)


def _read_at(request: RequestTiming) -> int:
    """When its prompt had been read, in ns: at the first token of its answer."""
    return find_edges(request.chunks)[0] if request.chunks else request.end_ns


def _count_output(requests: Sequence[RequestTiming], spans: Sequence[Window]) -> float:
    return sum(_count_output_within(r, spans) for r in requests)


def _count_output_within(request: RequestTiming, spans: Sequence[Window]) -> float:
    """Counts the output tokens within the spans; chunks have even shares if the server did not count their tokens."""
    whole = request.output_tokens or 0
    if any(span.start_ns <= request.sent_ns and request.end_ns <= span.end_ns for span in spans):
        return whole
    if not request.chunks:
        return whole if _is_within(request.end_ns, spans) else 0
    counts = request.tokens_per_chunk or [1] * len(request.chunks)
    inside = [_is_within(at_ns, spans) for at_ns in list_stamps(request.chunks)]
    return whole * sum(n for n, came in zip(counts, inside, strict=True) if came) / max(1, sum(counts))


# ------------------------------------------------------------------------------------------------- evidence


def divide_output(measurement: Measurement) -> RateUnits | None:
    """The output tokens of each unit."""
    return count_in_units(measurement, _list_answered(measurement), _output_in_unit)


def divide_total(measurement: Measurement) -> RateUnits | None:
    """The output and prompt tokens of each unit; a prompt is taken to be read evenly until its answer begins."""

    def count(request: RequestTiming, unit: Window) -> float:
        return _output_in_unit(request, unit) + _prompt_in_unit(request, unit)

    return count_in_units(measurement, _list_answered(measurement), count)


def divide_requests(measurement: Measurement) -> RateUnits | None:
    """The answered requests of each unit, each in parts by the time that it took."""
    return count_in_units(measurement, _list_answered(measurement), measure_progress)


def divide_inputs(measurement: Measurement) -> RateUnits | None:
    """The texts of each unit, those of a request in parts by the time that it took."""
    return count_in_units(
        measurement, _list_answered(measurement), lambda request, unit: request.inputs * measure_progress(request, unit)
    )


def divide_input_tokens(measurement: Measurement) -> RateUnits | None:
    """The tokens of these texts of each unit, likewise."""

    def count(request: RequestTiming, unit: Window) -> float:
        return (request.prompt_tokens or 0) * measure_progress(request, unit)

    return count_in_units(measurement, _list_answered(measurement), count)


def divide_goodput(measurement: Measurement, objectives: Sequence[Objective] | None) -> RateUnits | None:
    """All requests of each unit, and which of the requests that ended in the spans met every objective."""
    ended = find_ended(measurement.requests, measurement.spans)
    hits = [float(all(objective.is_met_by(request) for objective in objectives or ())) for request in ended]
    units = count_in_units(measurement, measurement.requests, measure_progress)
    return units and replace(units, hits=hits)


def divide_per_user(measurement: Measurement) -> RateUnits | None:
    """One token for the TPOT of each judged request."""
    timed = [(r, tpot) for r in measurement.judged if r.error is None and (tpot := r.tpot)]
    if not timed:
        return None
    engines = find_engines(measurement, [request for request, _ in timed])
    return RateUnits([1.0] * len(timed), [tpot for _, tpot in timed], "request", engines)


def _list_answered(measurement: Measurement) -> list[RequestTiming]:
    return [r for r in measurement.requests if r.error is None]


def _output_in_unit(request: RequestTiming, unit: Window) -> float:
    if request.end_ns <= unit.start_ns or request.sent_ns >= unit.end_ns:
        return 0.0
    if request.chunks:
        return _count_output_within(request, [unit])
    return (request.output_tokens or 0) * measure_progress(request, unit)


def _prompt_in_unit(request: RequestTiming, unit: Window) -> float:
    reading = Window(request.sent_ns, _read_at(request))
    inside = min(reading.end_ns, unit.end_ns) - max(reading.start_ns, unit.start_ns)
    return (request.prompt_tokens or 0) * max(0, inside) / max(1, reading.end_ns - reading.start_ns)
