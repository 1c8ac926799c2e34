"""Reads any answer without ever raising: an answer that breaks its reader is a failed request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.traffic.answers.answer import Answer
from pytest_llmperf.traffic.answers.json_fields import excerpt

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.traffic.answers.answer import Arrival


def read_or_fail(read: Callable[[Arrival], Answer], arrival: Arrival) -> Answer:
    """Reads an answer by ``read``; what that raises is the error of a failed request that keeps its stamps."""
    try:
        return read(arrival)
    except Exception as error:  # a server may send anything, and no request may be lost for that
        cause = excerpt(f"{type(error).__name__}: {error}").removesuffix(": ")
        return fail(arrival, f"the answer cannot be read: {cause}")


def fail(arrival: Arrival, error: str) -> Answer:
    """Returns an answer of which nothing was read, for this reason."""
    timing = RequestTiming(
        sent_ns=arrival.sent_ns,
        end_ns=arrival.end_ns,
        streamed=arrival.is_stream,
        status=arrival.status,
        error=arrival.fault or error,
        shared_prefix=arrival.shared_prefix,
        scheduled_ns=arrival.scheduled_ns,
    )
    return Answer("", "", [], None, None, timing, {})
