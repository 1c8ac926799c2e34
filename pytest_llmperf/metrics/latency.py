"""Latencies: what a request gives of each, in seconds, and the start of the engine.

t0 is the moment before a request is sent (its scheduled moment in an open loop), t1 the arrival of the first chunk that
carries a token, tn of the last one. The formulas are properties of
:class:`~pytest_llmperf.measurement.request.RequestTiming`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.reading import Reading

if TYPE_CHECKING:
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.metrics.metric import Metric


def list_ttft(request: RequestTiming) -> list[float]:
    """The request's time to first token, if it has one."""
    return _list_known(request.ttft)


def list_ttft_answer(request: RequestTiming) -> list[float]:
    """The request's time to the first token that is not reasoning, if it has one."""
    return _list_known(request.ttft_answer)


def list_tpot(request: RequestTiming) -> list[float]:
    """The request's time per output token, if it has one."""
    return _list_known(request.tpot)


def list_e2e(request: RequestTiming) -> list[float]:
    """The request's end-to-end time."""
    return _list_known(request.e2e)


def list_itl(request: RequestTiming) -> list[float]:
    """The gap before each of its tokens after the first."""
    return request.itl or []


def list_chunk_gaps(request: RequestTiming) -> list[float]:
    """The gap before each of its chunks after the first."""
    return request.chunk_gaps


def _list_known(value: float | None) -> list[float]:
    return [] if value is None else [value]


def read_cancel(measurement: Measurement, metric: Metric) -> Reading:
    """The longest time in seconds that the engine worked on for a request whose client had cancelled it."""
    cancelled = measurement.cancelled
    if not cancelled:
        return Reading.missing("the test has cancelled no request in a block of llm_client.expect_cancelled()")
    for one in cancelled:
        if one.noticed_after is None:
            return Reading.missing(one.reason)
    slowest = max(cancelled, key=lambda one: one.noticed_after or 0.0)
    return Reading(slowest.noticed_after, f"{metric.formula}; {slowest.how}", samples=len(cancelled))


def read_startup(measurement: Measurement, metric: Metric) -> Reading:
    """Seconds from the start of the engine until it was ready."""
    if measurement.engine is None:
        return Reading.missing("the test used no engine")
    if measurement.engine.startup_seconds is None:
        return Reading.missing("the engine was already running, so its start was not timed")
    return Reading(measurement.engine.startup_seconds, metric.formula, samples=1)
