"""The times of one request: what each latency metric is made of.

``t0`` is the moment before a request is sent (its scheduled moment in an open loop), ``t1`` the arrival of the first
chunk that carries a token, ``tn`` of the last one. All results are in seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_llmperf.measurement.request import RequestTiming

# llm_client always asks; an app has its own request.
NO_TOKEN_COUNT = (
    "the server gave no token count (usage) for every answer; "
    'a stream has one if its request says stream_options={"include_usage": true}'
)


_PER_REQUEST: dict[str, Callable[[RequestTiming], float | None]] = {
    "ttft": lambda request: request.ttft,
    "ttft_answer": lambda request: request.ttft_answer,
    "tpot": lambda request: request.tpot,
    "e2e": lambda request: request.e2e,
}
_PER_GAP: dict[str, Callable[[RequestTiming], list[float] | None]] = {
    "itl": lambda request: request.itl,
    "chunk_gap": lambda request: request.chunk_gaps,
}


def values(request: RequestTiming, key: str) -> list[float]:
    """What a request gives of a latency metric, in seconds: one value, or one per gap. A failed request gives none."""
    if request.error is not None:
        return []
    if key in _PER_GAP:
        return _PER_GAP[key](request) or []
    value = _PER_REQUEST[key](request)
    return [] if value is None else [value]


def samples(requests: Sequence[RequestTiming], key: str) -> list[float]:
    """What all requests give of a latency metric, in seconds."""
    return [value for request in requests for value in values(request, key)]


def why_no_samples(key: str, requests: Sequence[RequestTiming]) -> str:
    """Why these requests give no value of a latency metric, in one sentence."""
    if not requests:
        return "the test sent no request through llm_client"
    answered = [r for r in requests if r.error is None]
    if not answered:
        return "no request was answered"
    if not any(r.streamed for r in answered):
        return "answers were not streamed: use stream=True"
    long = [r for r in answered if len(r.chunks) > 1]
    if key in ("itl", "tpot") and long:
        if all(r.output_tokens is None for r in long):
            return NO_TOKEN_COUNT
        return "the server sends several tokens in a chunk and does not say how many"
    if key == "ttft_answer" and any(r.chunks for r in answered):
        return "no answer got past its reasoning"
    return f"no answer was long enough to give {key}"
