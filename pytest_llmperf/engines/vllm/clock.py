"""The times of a test's requests by vLLM's own counters, where these count nothing but the test's requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.server_clock import ServerClock, StreamTimes, sum_client_times

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.request import RequestTiming


def compare_clocks(rises: Mapping[str, float], requests: Sequence[RequestTiming]) -> ServerClock | None:
    """Both clocks' times of the requests; None if none of them was streamed, or the server counts no times.

    ``rises`` is what the server's counters rose by over the test.
    """
    if not any(request.streamed for request in requests) or "ttft_requests" not in rises:
        return None
    if reason := _why_not_ours(rises, requests):
        return ServerClock(reason=reason)
    decode, gaps = rises.get("decode_gap_seconds"), rises.get("decode_gaps", 0)
    if decode is None:
        # Older versions count no gaps, and the time of a whole answer once it has ended.
        decode, gaps = rises.get("decode_seconds"), 0
    server = StreamTimes(len(requests), rises.get("ttft_seconds"), decode, round(gaps))
    return ServerClock(server, sum_client_times(requests))


def _why_not_ours(rises: Mapping[str, float], requests: Sequence[RequestTiming]) -> str:
    """Why the counters do not count just these requests, or these have no stamps to compare; "" if they do."""
    total = len(requests)
    if others := sum(1 for request in requests if not request.streamed):
        return f"{others} of {total} answers were not streamed"
    if failed := sum(1 for request in requests if request.error is not None):
        return f"{failed} of {total} requests failed"
    if unknown := sum(1 for request in requests if request.output_tokens is None or not request.chunks):
        return f"the tokens of {unknown} of {total} answers were not counted"
    counted = round(rises["ttft_requests"])
    if counted != total:
        return f"the server counts {counted} first tokens, and the test sent {total} requests"
    seen = sum(request.output_tokens or 0 for request in requests)
    generated = round(rises.get("generation_tokens", 0))
    if generated != seen:
        return f"the server generated {generated} tokens, and the client saw {seen}"
    return ""
