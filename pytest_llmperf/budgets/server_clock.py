"""Whether the client's stamps of tokens are those of the engine, by what the server's own clock says of them.

Between an engine and its client there are an API server and perhaps a proxy. Where one of them is starved or buffers,
tokens arrive in bursts: the gaps between them shrink, and every latency between tokens looks better than it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.units import SECONDS, format_value
from pytest_llmperf.metrics.metric import DistributionMetric, StreamTime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.measurement.server_clock import ServerClock, StreamTimes
    from pytest_llmperf.metrics.metric import Metric
    from pytest_llmperf.metrics.statistics import Statistic

# The client's time is far below the server's when it is shorter by this share, and by this much for each request.
TOLERATED_SHARE = 0.2
FLOOR_S = 0.005
# This share of the gaps may be squeezed, which moves a percentile by as many percent.
SQUEEZED_SHARE = 0.1
# No engine gives one request 20,000 tokens a second: tokens that are closer came together.
TOGETHER_S = 50e-6
_CAUSE = "tokens were held back on their way, by a proxy, or by an API server or a client without a free core"


def why_stamps_are_not_the_engines(metric: Metric, statistic: Statistic | None, measurement: Measurement) -> str:
    """Why the stamps that a metric is read from do not say when the engine gave its tokens; "" if they may."""
    if metric.stream_time is StreamTime.NONE:
        return ""
    reasons = [
        _why_server_disagrees(metric, measurement.server_clock, measurement.requests),
        *(_why_server_disagrees(metric, part.server_clock, part.requests) for part in measurement.parts),
    ]
    reasons.append(_why_some_disagree(metric, statistic, measurement.judged))
    return next(filter(None, reasons), "") or _why_together(metric, statistic, measurement)


def _why_server_disagrees(metric: Metric, clock: ServerClock | None, requests: Sequence[RequestTiming]) -> str:
    if clock is None or clock.server is None or clock.client is None:
        return ""
    if reason := _why_shorter(clock.server, clock.client, _count_unseen(requests)):
        return f"{reason}: {_CAUSE}"
    squeezed = _count_squeezed(clock.server, clock.client, requests)
    if metric.stream_time is StreamTime.GAPS and squeezed > SQUEEZED_SHARE * clock.client.gaps:
        mean = format_value(clock.server.gap_mean or 0.0, SECONDS)
        return (
            f"{squeezed} of {clock.client.gaps} tokens arrived together with others, and the server's own mean gap is "
            f"{mean}: {_CAUSE}"
        )
    return ""


def _why_some_disagree(metric: Metric, statistic: Statistic | None, requests: Sequence[RequestTiming]) -> str:
    """Where answers state the server's times, those of single answers: the slow ones may be the ones held back.

    A goodput, for which a metric has no statistic, hardly changes by a few.
    """
    is_objective = isinstance(metric, DistributionMetric) and statistic is None
    if metric.stream_time is not StreamTime.SPAN or is_objective:
        return ""
    held = [own for r in requests if (own := _find_shorter(r)) is not None]
    if not held:
        return ""
    ours, theirs = (format_value(seconds, SECONDS) for seconds in max(held, key=lambda own: own[1] - own[0]))
    of = f"{len(held)} of {len(requests)} answers came in less time than the server gave them in"
    return f"{of}, one in {ours} instead of {theirs} after its first token: {_CAUSE}"


def _find_shorter(request: RequestTiming) -> tuple[float, float] | None:
    """Seconds by the client and by the server of the tokens after the first chunk, if the client's are far too few."""
    if request.server is None or request.server.decode is None or request.error is not None:
        return None
    tokens, tpot = request.tokens_after_first, request.tpot
    if not tokens or tpot is None or request.output_tokens is None:
        return None
    steps = max(tokens, request.output_tokens - 1)
    theirs = request.server.decode / 1e9 * min(tokens, steps - _count_unseen([request])) / steps
    ours = tpot * tokens
    return (ours, theirs) if ours < theirs * (1 - TOLERATED_SHARE) and theirs - ours > FLOOR_S else None


def _count_unseen(requests: Sequence[RequestTiming]) -> int:
    """How many tokens may have been generated and not shown: the one that ends an answer."""
    return sum(1 for request in requests if request.finish_reason not in (None, "length"))


def _why_shorter(server: StreamTimes, client: StreamTimes, unseen: int) -> str:
    mean_gap = client.gaps and (server.decode or 0.0) / client.gaps
    decode = None if server.decode is None else server.decode - unseen * mean_gap
    pairs = (
        ("from the first token to the last", decode, client.decode),
        ("to the first token", server.ttft, client.ttft),
    )
    for what, theirs, ours in pairs:
        if theirs is None or ours is None or not client.requests:
            continue
        if ours < theirs * (1 - TOLERATED_SHARE) and theirs - ours > FLOOR_S * client.requests:
            mean, own = (format_value(seconds / client.requests, SECONDS) for seconds in (ours, theirs))
            of = "1 request" if client.requests == 1 else f"{client.requests} requests"
            return f"{mean} {what} for the client, {own} by the server's own clock (mean of {of})"
    return ""


def _count_squeezed(server: StreamTimes, client: StreamTimes, requests: Sequence[RequestTiming]) -> int:
    """Tokens whose gap was squeezed on the way: those that came in one step of the engine have none of their own."""
    if server.gap_mean is None:
        return 0
    limit = min(server.gap_mean / 10, 0.001)
    close = sum(1 for request in requests for gap in request.itl or () if gap < limit)
    return max(0, close - max(0, client.gaps - server.gaps))


def _why_together(metric: Metric, statistic: Statistic | None, measurement: Measurement) -> str:
    """Without a server's clock: why the value itself cannot be a time between two steps of an engine."""
    if metric.stream_time is StreamTime.FIRST:
        return ""
    if isinstance(metric, DistributionMetric) and statistic is not None:
        found = metric.distribution(measurement)
        value = statistic.of(found) if found.count else None
    else:
        times = [t for r in measurement.judged if r.error is None and (t := r.tpot) is not None]
        value = sum(times) / len(times) if times else None
    if value is None or value >= TOGETHER_S:
        return ""
    return "tokens arrived together with others, so that the time between them is not known"
