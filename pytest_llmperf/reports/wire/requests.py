"""The requests of a measurement as plain data."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_llmperf.metrics.table import read
from pytest_llmperf.reports.wire.numbers import to_count, to_milliseconds, to_number
from pytest_llmperf.reports.wire.texts import to_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.engine_info import EngineInfo
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.measurement.unread import UnreadCall

REQUEST_RECORDS = 1000
REQUEST_ERRORS = 20
REQUEST_MODELS = 20
BY_ADAPTER = (
    *(f"latency.{key}_{at}" for key in ("ttft", "tpot", "e2e") for at in ("p50", "p95", "max")),
    "throughput.output",
    "throughput.requests",
)
"""The readings of each adapter."""


def requests_to_wire(measurement: Measurement, start_ns: int) -> dict[str, Any]:
    """The requests counted, and up to ``REQUEST_RECORDS`` of them one by one; moments are ms from ``start_ns``."""
    requests = measurement.requests
    answered = [r for r in requests if r.error is None]
    return {
        "total": len(requests),
        "failed": len(requests) - len(answered),
        "streamed": sum(1 for r in requests if r.streamed),
        "errors": _errors(requests),
        "tokens": {
            "output": _total([r.output_tokens for r in answered]),
            "prompt": _total([r.prompt_tokens for r in answered]),
            "cached": _count_cached(measurement, answered),
        },
        "models": _count_models(answered, measurement.engine),
        "short": _short(answered),
        "records": [_request(r, start_ns) for r in _sample(requests)],
        "requests_left_out": max(0, len(requests) - REQUEST_RECORDS),
        "inputs": _inputs(measurement.others),
        "unread": _unread(measurement.unread),
    }


def cancelled_to_wire(measurement: Measurement, start_ns: int) -> list[dict[str, Any]]:
    """The requests that the test expected to be cancelled, one by one; moments are ms from ``start_ns``."""
    return [
        {
            "sent_ms": to_milliseconds(one.sent_ns, start_ns),
            "ttft_s": to_number(one.ttft),
            "tokens": to_count(one.tokens),
            "chunks": int(one.chunks),
            "cancelled_after_s": to_number(one.cancelled_after),
            "noticed_after_s": to_number(one.noticed_after),
            "how": to_text(one.how),
            "reason": to_text(one.reason),
        }
        for one in _sample(measurement.cancelled)
    ]


def _inputs(requests: Sequence[RequestTiming]) -> dict[str, Any]:
    """The requests for embeddings, ranks and scores counted, with the texts and tokens of those that were answered.

    Empty without any.
    """
    if not requests:
        return {}
    answered = [r for r in requests if r.error is None]
    works = Counter(r.work for r in requests)
    return {
        "embed": works["embed"],
        "rank": works["rank"],
        "failed": len(requests) - len(answered),
        "errors": _errors(requests),
        "texts": sum(int(r.inputs) for r in answered),
        "tokens": _total([r.prompt_tokens for r in answered]),
    }


def adapters_to_wire(measurement: Measurement) -> list[dict[str, Any]]:
    """The results by adapter, in the order in which they were first asked for; the model itself has the name "".

    ``readings`` has the values of the latencies and rates that its requests give, by name.
    """
    return [_adapter_to_wire(name, measurement.select_adapter(name)) for name in measurement.adapters]


def _adapter_to_wire(name: str, part: Measurement) -> dict[str, Any]:
    answered = [r for r in part.requests if r.error is None]
    readings = {name: read(name, part) for name in BY_ADAPTER}
    return {
        "adapter": to_text(name),
        "requests": len(part.requests),
        "failed": len(part.requests) - len(answered),
        "output_tokens": _total([r.output_tokens for r in answered]),
        "readings": {name: to_number(one.value) for name, one in readings.items() if one.value is not None},
    }


def _count_models(answered: Sequence[RequestTiming], engine: EngineInfo | None) -> dict[str, int]:
    """How many answers each model gave, by the name that the server states; a derived one counts as the engine's."""
    known = {engine.asked_as: engine.model} if engine is not None else {}
    names = (known.get(r.model, to_text(r.model)) for r in answered if r.model and not r.adapter)
    return dict(Counter(names).most_common(REQUEST_MODELS))


def _short(answered: Sequence[RequestTiming]) -> dict[str, int | None]:
    """How many answers have fewer tokens than were asked for, how many of those were cut off, and the shortest one."""
    short = sorted(
        ((r.output_tokens or 0, r.asked_tokens or 0, r) for r in answered if r.is_short), key=lambda s: s[:2]
    )
    tokens, asked = (short[0][0], short[0][1]) if short else (None, None)
    return {
        "answers": len(short),
        "cut_off": sum(1 for _, _, r in short if r.finish_reason == "length"),
        "tokens": to_count(tokens),
        "asked_tokens": to_count(asked),
    }


def _unread(calls: Sequence[UnreadCall]) -> list[dict[str, Any]]:
    """The calls that were not read, counted by method and path."""
    counted = Counter((call.what, call.harmless) for call in calls)
    return [
        {"call": str(what), "count": int(count), "harmless": bool(harmless)}
        for (what, harmless), count in sorted(counted.items())
    ]


def _sample(requests: Sequence[Any]) -> Sequence[Any]:
    """All of them, or so many that lie evenly apart, the first and the last included."""
    if len(requests) <= REQUEST_RECORDS:
        return requests
    return [requests[place * (len(requests) - 1) // (REQUEST_RECORDS - 1)] for place in range(REQUEST_RECORDS)]


def _errors(requests: Sequence[RequestTiming]) -> dict[str, int]:
    """How often each of the most frequent errors came."""
    counted = Counter(to_text(r.error) for r in requests if r.error is not None)
    return dict(counted.most_common(REQUEST_ERRORS))


def _count_cached(measurement: Measurement, answered: Sequence[RequestTiming]) -> int | None:
    """As the answers say; where not all of them do, as the engine counts it."""
    found = _total([r.cached_tokens for r in answered])
    return to_count(measurement.prompt_cache.cached_tokens) if found is None and answered else found


def _total(counts: Sequence[int | None]) -> int | None:
    """None as soon as one answer is without a count: a sum of the others would read as the whole."""
    known = [int(count) for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _request(request: RequestTiming, start_ns: int) -> dict[str, Any]:
    return {
        "phase": str(request.phase),
        "scheduled_ms": to_milliseconds(request.scheduled_ns, start_ns),
        "sent_ms": to_milliseconds(request.sent_ns, start_ns),
        "ttft_s": to_number(request.ttft),
        "tpot_s": to_number(request.tpot),
        "e2e_s": to_number(request.e2e),
        "output_tokens": to_count(request.output_tokens),
        "asked_tokens": to_count(request.asked_tokens),
        "prompt_tokens": to_count(request.prompt_tokens),
        "cached_tokens": to_count(request.cached_tokens),
        "hidden_tokens": int(request.hidden_tokens),
        "count_fault": to_text(request.count_fault),
        "chunks": len(request.chunks),
        "finish_reason": None if request.finish_reason is None else to_text(request.finish_reason),
        "status": to_count(request.status),
        "error": None if request.error is None else to_text(request.error),
        "model": to_text(request.model) or None,
        "adapter": to_text(request.adapter) or None,
    }
