"""When each request was sent and answered, as lanes to draw: plain data for reports that show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.chunks import find_edges
from pytest_llmperf.reports.wire.numbers import to_number
from pytest_llmperf.reports.wire.series import to_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.request import RequestTiming

MOST_LANES = 200


def lanes_to_wire(requests: Sequence[RequestTiming], start_ns: int) -> dict[str, Any]:
    """``lanes``: of each request when it was sent, its first token and its end, in s from ``start_ns``, its ending
    (``answered``, ``short`` if it has fewer tokens than were asked for, ``failed``) and how long it waited in the
    server's queue, in s; None for a time that is not known. ``lanes_of`` is the number of all requests.

    Of more than ``MOST_LANES`` requests so many are kept, evenly apart; those that failed first.
    """
    return {
        "lanes": [_to_lane(request, start_ns) for request in _select(requests)],
        "lanes_of": len(requests),
    }


def _to_lane(request: RequestTiming, start_ns: int) -> list[Any]:
    ending = "failed" if request.error is not None else "short" if request.is_short else "answered"
    queue = request.server.queue if request.server is not None else None
    return [
        to_seconds(request.sent_ns, start_ns),
        to_seconds(find_edges(request.chunks)[0], start_ns) if request.chunks else None,
        to_seconds(request.end_ns, start_ns),
        ending,
        None if queue is None else to_number(queue / 1e9),
    ]


def _select(requests: Sequence[RequestTiming]) -> Sequence[RequestTiming]:
    if len(requests) <= MOST_LANES:
        return requests
    failed = _thin([at for at, request in enumerate(requests) if request.error is not None], MOST_LANES)
    answered = [at for at, request in enumerate(requests) if request.error is None]
    return [requests[at] for at in sorted((*failed, *_thin(answered, MOST_LANES - len(failed))))]


def _thin(places: Sequence[int], count: int) -> Sequence[int]:
    """So many of the places, evenly apart, the first and the last included; all of them if there are no more."""
    if len(places) <= count:
        return places
    if count < 2:
        return places[:count]
    return [places[at * (len(places) - 1) // (count - 1)] for at in range(count)]
