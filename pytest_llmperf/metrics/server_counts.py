"""What a server counts beside the tokens of its answers: prompt tokens from its caches, and drafts that it accepted.

Where each answer says it, the judged requests count. Else it is what the server's own counters rose by over the test,
warm-ups of loads included. Both count every token, so that the values have no noise of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.metrics.missing import why_no_request, why_unanswered

if TYPE_CHECKING:
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.metrics.metric import Metric

_NO_CACHE_COUNT = "neither the answers nor the server's counters say how many prompt tokens came from a cache"
_NO_DRAFT_COUNT = "neither the answers nor the server's counters say how many tokens were drafted"
_NO_DRAFTS = "the server's counters do not say how many drafts there were, and no answer does"
_NO_DRAFT = "no token was drafted during the test: does the server run with speculative decoding?"


def read_prefix_hit_rate(measurement: Measurement, metric: Metric) -> Reading:
    """The share of the prompt tokens that came from a cache."""
    if not measurement.requests:
        return Reading.missing(why_no_request(measurement))
    if reason := why_unanswered(measurement.judged):
        return Reading.missing(reason)
    answered = [request for request in measurement.judged if request.error is None]
    counted = [(r.cached_tokens, r.prompt_tokens) for r in answered if r.cached_tokens is not None and r.prompt_tokens]
    if len(counted) < len(answered):
        return measurement.engine_readings.get(metric.name) or Reading.missing(_NO_CACHE_COUNT)
    hits, asked = (sum(each) for each in zip(*counted, strict=True))
    return Reading(hits / asked, metric.formula, samples=len(counted))


def read_acceptance_rate(measurement: Measurement, metric: Metric) -> Reading:
    """The share of the draft tokens that became part of an answer."""
    if stated := measurement.engine_readings.get(metric.name):
        return stated
    if not measurement.requests:
        return Reading.missing(why_no_request(measurement))
    if reason := why_unanswered(measurement.judged):
        return Reading.missing(reason)
    answered = [request for request in measurement.judged if request.error is None]
    counted = [(r.drafted_tokens, r.accepted_tokens or 0) for r in answered if r.drafted_tokens is not None]
    if len(counted) < len(answered):
        return Reading.missing(_NO_DRAFT_COUNT)
    drafted, accepted = (sum(each) for each in zip(*counted, strict=True))
    if not drafted:
        return Reading.missing(_NO_DRAFT)
    return Reading(accepted / drafted, metric.formula, samples=len(counted))


def read_acceptance_length(measurement: Measurement, metric: Metric) -> Reading:
    """Tokens of an answer for each draft that was checked: those accepted, and the one that the model adds."""
    return measurement.engine_readings.get(metric.name) or Reading.missing(_NO_DRAFTS)
