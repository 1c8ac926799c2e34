"""The times of one request: what each latency metric is made of.

``t0`` is the moment before a request is sent (its scheduled moment in an open loop), ``t1`` the arrival of the first
chunk that carries a token, ``tn`` of the last one. All results are in seconds.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.chunks import answer_ns, edges, stamps, stated_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_llmperf.measurement.request import RequestTiming

# llm_client always asks; an app has its own request.
NO_TOKEN_COUNT = (
    "the server gave no token count (usage) for every answer; "
    'a stream has one if its request says stream_options={"include_usage": true}'
)


def ttft(request: RequestTiming) -> float | None:
    return (edges(request.chunks)[0] - request.start_ns) / 1e9 if request.chunks else None


def ttft_answer(request: RequestTiming) -> float | None:
    first_ns = answer_ns(request.chunks)
    return None if first_ns is None else (first_ns - request.start_ns) / 1e9


def e2e(request: RequestTiming) -> float | None:
    """For an answer that was not streamed, its arrival is the last token's."""
    if request.chunks:
        return (edges(request.chunks)[1] - request.start_ns) / 1e9
    return None if request.streamed else (request.end_ns - request.start_ns) / 1e9


def chunk_gaps(request: RequestTiming) -> list[float]:
    return [(b - a) / 1e9 for a, b in itertools.pairwise(stamps(request.chunks))]


def tokens_per_chunk(request: RequestTiming) -> list[int] | None:
    """The tokens of each chunk, None where the server leaves it open.

    Without counts per chunk, one token each is certain only when there are as many chunks as tokens. One token more is
    the end-of-sequence token, which is counted and not shown, unless the answer was cut at its length.
    """
    if not request.chunks:
        return None
    counts = stated_counts(request.chunks)
    if counts is not None:
        return counts
    unseen = (0,) if request.finish_reason == "length" else (0, 1)
    if request.output_tokens is not None and request.output_tokens - len(request.chunks) in unseen:
        return [1] * len(request.chunks)
    return None


def itl(request: RequestTiming) -> list[float] | None:
    counts = tokens_per_chunk(request)
    if counts is None:
        return None
    gaps = [0.0] * (counts[0] - 1)
    last_ns, *others = stamps(request.chunks)
    for at_ns, tokens in zip(others, counts[1:], strict=True):
        # Two chunks of one token (the end of the reasoning, the start of the answer) are counted as 1 and 0.
        if tokens:
            gaps.append((at_ns - last_ns) / 1e9)
            if tokens > 1:
                gaps += [0.0] * (tokens - 1)
            last_ns = at_ns
    return gaps


def tpot(request: RequestTiming) -> float | None:
    """None for an answer of one chunk, and where nobody counted the tokens.

    Without counts per chunk the first chunk is given its even share of the tokens.
    """
    if len(request.chunks) < 2:
        return None
    first_ns, last_ns = edges(request.chunks)
    counts = tokens_per_chunk(request)
    if counts is not None:
        after_first = float(sum(counts[1:]))
    elif request.output_tokens is not None:
        after_first = request.output_tokens - max(1.0, request.output_tokens / len(request.chunks))
    else:
        return None
    return (last_ns - first_ns) / (after_first * 1e9) if after_first > 0 else None


_PER_REQUEST: dict[str, Callable[[RequestTiming], float | None]] = {
    "ttft": ttft,
    "ttft_answer": ttft_answer,
    "tpot": tpot,
    "e2e": e2e,
}
_PER_GAP: dict[str, Callable[[RequestTiming], list[float] | None]] = {"itl": itl, "chunk_gap": chunk_gaps}


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
