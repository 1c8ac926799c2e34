"""Between what a value may truly lie where the client's stamps of tokens are not the engine's.

Tokens that were held back came later than the engine gave them, never earlier. So the times to the first token are too
long at worst, by as much as the server's own clock says of all of them together. The time between tokens may be any:
but none is longer than its whole request, nor than all the time between tokens that the server counts.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.interval import Interval, find_interval
from pytest_llmperf.measurement.distribution import Distribution
from pytest_llmperf.metrics.evidence import RateUnits, RequestValues
from pytest_llmperf.metrics.metric import DistributionMetric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_llmperf.budgets.interval import Better, Confidence
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.measurement.server_clock import ServerClock
    from pytest_llmperf.metrics.metric import Metric, Objective
    from pytest_llmperf.metrics.statistics import Statistic

    Bounds = tuple[Sequence[float], Sequence[float]]
    """The least and the most that a request may truly have given of a metric, in its base unit; both empty for none."""

_NONE: Bounds = ((), ())


def bound_truth(
    metric: Metric, statistic: Statistic | None, measurement: Measurement, confidence: Confidence
) -> Interval:
    """The interval of a value whose stamps are not the engine's; without bounds where nothing is known of it."""
    found = [bounds for bounds in _bound_requests(metric, measurement, measurement.judged) if bounds[1]]
    if not found:
        return Interval(None, None)
    shortest, longest = [bounds[0] for bounds in found], [bounds[1] for bounds in found]
    if isinstance(metric, DistributionMetric) and statistic is not None:
        is_per_request = metric.sample == "request"
        low, high = (
            _bound_percentile(v, is_per_request, statistic, metric.better, confidence) for v in (shortest, longest)
        )
        least = max(low.low or 0.0, _find_mean_gap(metric, measurement)) if statistic.percentile is None else low.low
        return replace(high, low=least)
    slow, fast = (_bound_mean([one for (one,) in values], confidence) for values in (longest, shortest))
    return replace(slow, high=fast.high)


def keeps_objective(objective: Objective, measurement: Measurement) -> bool:
    """Whether every request keeps a limit on its own values even if these are the worst that they may truly be."""
    found = [most for _, most in _bound_requests(objective.metric, measurement, measurement.requests)]
    return bool(found) and all(value <= objective.limit for most in found for value in most)


def _bound_percentile(
    values: Sequence[Sequence[float]],
    is_per_request: bool,
    statistic: Statistic,
    better: Better,
    confidence: Confidence,
) -> Interval:
    value = statistic.of(Distribution(values))
    found = find_interval(RequestValues(values, is_per_request), statistic, value, better, confidence)
    return found or Interval(value, value)


def _bound_mean(times: Sequence[float], confidence: Confidence) -> Interval:
    """Of one over the mean of the times."""
    if not all(times):
        return Interval(None, None)
    rate = len(times) / sum(times)
    found = find_interval(RateUnits([1.0] * len(times), times, "request"), None, rate, "higher", confidence)
    return found or Interval(rate, rate)


def _find_mean_gap(metric: Metric, measurement: Measurement) -> float:
    """Seconds that the largest time between tokens cannot be shorter than; 0.0 if the server's clock is not known."""
    clock = measurement.server_clock
    if metric.name not in _BETWEEN_TOKENS or clock is None or clock.server is None or clock.client is None:
        return 0.0
    is_judged = len(measurement.judged) == len(measurement.requests)
    return (clock.server.decode or 0.0) / clock.client.gaps if is_judged and clock.client.gaps else 0.0


def _bound_requests(metric: Metric, measurement: Measurement, requests: Sequence[RequestTiming]) -> Iterator[Bounds]:
    """In the order of ``requests``."""
    bound = _BOUNDS.get(metric.name)
    if bound is None:
        return
    clocks = {id(request): part.server_clock for part in measurement.parts for request in part.requests}
    for request in requests:
        if request.error is None:
            yield bound(request, clocks.get(id(request), measurement.server_clock))


def _bound_first(request: RequestTiming, clock: ServerClock | None) -> Bounds:
    if (seen := request.ttft) is None:
        return _NONE
    return (_find_earliest(request, clock),), (_find_latest(request, clock, seen),)


def _bound_first_of_answer(request: RequestTiming, clock: ServerClock | None) -> Bounds:
    if (seen := request.ttft_answer) is None:
        return _NONE
    return (_find_earliest(request, clock),), (_find_latest(request, clock, seen),)


def _bound_span(request: RequestTiming, clock: ServerClock | None) -> Bounds:
    tokens = request.tokens_after_first
    if tokens is None or tokens <= 0:
        return _NONE
    longest = _find_longest(request, clock)
    is_alone = clock is not None and clock.server is not None and clock.server.requests == 1
    own = _find_own_decode(request)
    shortest = own if own is not None else (_find_decode(clock) or 0.0) if is_alone else 0.0
    # The token that ends an answer may have taken a step as well, without being seen.
    return (min(shortest, longest) / (tokens + 1),), (longest / tokens,)


def _bound_gaps(request: RequestTiming, clock: ServerClock | None) -> Bounds:
    return _spread(len(request.itl or ()), request, clock)


def _bound_chunk_gaps(request: RequestTiming, clock: ServerClock | None) -> Bounds:
    return _spread(len(request.chunk_gaps), request, clock)


def _spread(gaps: int, request: RequestTiming, clock: ServerClock | None) -> Bounds:
    return [0.0] * gaps, [_find_longest(request, clock)] * gaps


def _find_earliest(request: RequestTiming, clock: ServerClock | None) -> float:
    """Seconds after which the engine may have given the first token: all that was late may be of this request."""
    if request.server is not None and request.server.first is not None:
        return request.server.first / 1e9
    seen, sums = request.ttft, _sum_first(clock)
    if seen is None or sums is None:
        return 0.0
    by_server, by_client = sums
    return max(0.0, seen - (by_client - by_server)) if by_client >= by_server else 0.0


def _find_latest(request: RequestTiming, clock: ServerClock | None, seen: float) -> float:
    """Seconds to a first token at most: as the client saw it, unless by the server's clock that cannot be."""
    sums = _sum_first(clock)
    if sums is None or sums[0] <= sums[1]:
        return seen
    return max(seen, min(request.e2e or math.inf, sums[0]))


def _sum_first(clock: ServerClock | None) -> tuple[float, float] | None:
    """Seconds to the first tokens of all requests by the server and by the client; None if not known."""
    if clock is None or clock.server is None or clock.client is None:
        return None
    if clock.server.ttft is None or clock.client.ttft is None:
        return None
    return clock.server.ttft, clock.client.ttft


def _find_longest(request: RequestTiming, clock: ServerClock | None) -> float:
    """Seconds that lie between two tokens of a request at most."""
    whole = request.e2e if request.e2e is not None else math.inf
    own = _find_own_decode(request)
    if own is not None:
        return own
    decode, sums = _find_decode(clock), _sum_first(clock)
    if decode is None:
        return whole
    seen = clock.client.decode if clock is not None and clock.client is not None else None
    is_possible = sums is None or seen is None or decode <= sums[1] + seen
    return min(whole, decode) if is_possible else decode


def _find_own_decode(request: RequestTiming) -> float | None:
    """Seconds between the first token and the last, as the server states them of this answer; None if it does not."""
    return None if request.server is None or request.server.decode is None else request.server.decode / 1e9


def _find_decode(clock: ServerClock | None) -> float | None:
    return None if clock is None or clock.server is None else clock.server.decode


_BETWEEN_TOKENS: dict[str, Callable[[RequestTiming, ServerClock | None], Bounds]] = {
    "latency.tpot": _bound_span,
    "latency.itl": _bound_gaps,
    "latency.chunk_gap": _bound_chunk_gaps,
}
_BOUNDS: dict[str, Callable[[RequestTiming, ServerClock | None], Bounds]] = {
    **_BETWEEN_TOKENS,
    "throughput.per_user": _bound_span,
    "latency.ttft": _bound_first,
    "latency.ttft_answer": _bound_first_of_answer,
}
