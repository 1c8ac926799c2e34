"""What a server's own clock says of the requests of a window, to hold the client's stamps against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.chunks import find_edges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.request import RequestTiming


@dataclass(frozen=True)
class StreamTimes:
    """Sums over streamed requests, in seconds, by one clock.

    Attributes:
        requests: how many there are.
        ttft: from the request to the first token; None if it is not known.
        decode: from the first token to the last; None if it is not known.
        gaps: the number of gaps that ``decode`` is made of: between two steps of the engine, or between two tokens.
    """

    requests: int
    ttft: float | None
    decode: float | None
    gaps: int

    @property
    def ttft_mean(self) -> float | None:
        """Seconds to the first token, of the mean request."""
        return None if self.ttft is None or not self.requests else self.ttft / self.requests

    @property
    def gap_mean(self) -> float | None:
        """Seconds of the mean gap."""
        return None if self.decode is None or not self.gaps else self.decode / self.gaps


@dataclass(frozen=True)
class ServerClock:
    """The times of a window's requests by the server's counters, or by what its answers state.

    Attributes:
        server: by the server; None for the ``reason``.
        client: the same requests by the client's stamps; None for the ``reason``.
        reason: why the two are not compared, in one sentence; empty if they are.
    """

    server: StreamTimes | None = None
    client: StreamTimes | None = None
    reason: str = ""


def sum_stated_times(requests: Sequence[RequestTiming]) -> ServerClock | None:
    """Both clocks' times of requests whose answers state the server's own; None if none of them does."""
    streamed = [request for request in requests if request.streamed and request.error is None]
    stated = [r.server for r in streamed if r.server is not None and r.server.decode is not None]
    if not stated:
        return None
    if len(stated) < len(streamed):
        return ServerClock(reason=f"the server stated its times in {len(stated)} of {len(streamed)} answers")
    if unknown := sum(1 for request in streamed if request.output_tokens is None or not request.chunks):
        return ServerClock(reason=f"the tokens of {unknown} of {len(streamed)} answers were not counted")
    client = sum_client_times(streamed)
    first = [times.first for times in stated if times.first is not None]
    server = StreamTimes(
        requests=len(stated),
        ttft=sum(first) / 1e9 if len(first) == len(stated) else None,
        decode=sum(times.decode or 0 for times in stated) / 1e9,
        gaps=0 if any(times.drafted for times in stated) else client.gaps,
    )
    return ServerClock(server, client)


def sum_client_times(requests: Sequence[RequestTiming]) -> StreamTimes:
    """The times of streamed requests by the client's stamps; each must have chunks, and its tokens counted."""
    edges = [find_edges(request.chunks) for request in requests]
    return StreamTimes(
        requests=len(requests),
        ttft=sum(first - request.sent_ns for request, (first, _) in zip(requests, edges, strict=True)) / 1e9,
        decode=sum(last - first for first, last in edges) / 1e9,
        gaps=sum(max(0, (request.output_tokens or 0) - 1) for request in requests),
    )
