"""Why a metric has no value: one sentence for each case."""

from __future__ import annotations

import traceback
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.unread import describe_unread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming, Work

# llm_client always asks; an app has its own request.
NO_TOKEN_COUNT = (
    "the server gave no token count (usage) for every answer; "
    'a stream has one if its request says stream_options={"include_usage": true}'
)

_NO_REQUEST = "the test sent no request through llm_client"


# The same of what gives no text, by what the requests would have the engine do.
_NO_INPUTS: Mapping[tuple[Work, ...], str] = MappingProxyType(
    {
        ("embed", "rank"): "the test sent no request for embeddings or scores",
        ("embed",): "the test sent no request for embeddings",
        ("rank",): "the test sent no request for scores",
    }
)


def give_no_reason(requests: Sequence[RequestTiming]) -> str:
    """Always empty: whatever answered requests give stands for all of them."""
    return ""


def why_raised(error: Exception) -> str:
    """Why a metric whose function raised has no value: the error and its line, in one sentence."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
    return f"its function raised {text} ({last.filename}:{last.lineno})"


def why_no_request(measurement: Measurement) -> str:
    """Why a measurement has no request, with what there was instead."""
    if measurement.capacities or measurement.sweeps:
        return "the requests of capacity() and sweep() are in no other number, and the test sent no others"
    if measurement.works != ("text",):
        # One reason for all of them where that is true: most tests have it.
        is_mixed = any(other.work != "text" for other in measurement.others)
        return _NO_INPUTS[measurement.works if is_mixed else ("embed", "rank")]
    if measurement.others:
        return "the test sent requests for embeddings or scores alone, and none for text"
    if unread := describe_unread(measurement.unread):
        return f"the test sent {unread}"
    if count := len(measurement.cancelled):
        what = "request was" if count == 1 else f"{count} requests were"
        return f"its only {what} cancelled, as it expected"
    generated = measurement.engine_stats.get("generation_tokens", 0)
    past = f", and the server generated {generated:.0f} tokens for calls that went past it" if generated else ""
    return f"{_NO_REQUEST}{past}"


def why_unanswered(requests: Sequence[RequestTiming]) -> str:
    """Why there is no answered request; empty if there is one."""
    if not requests:
        return _NO_REQUEST
    return "" if any(r.error is None for r in requests) else "no request was answered"


def why_no_values(requests: Sequence[RequestTiming], key: str) -> str:
    """Why requests gave no value of the latency ``key``, in one sentence."""
    return _why_not_streamed(requests) or f"no answer was long enough to give {key}"


def why_no_first_token(requests: Sequence[RequestTiming], key: str) -> str:
    """The same for the first token of all, which may be reasoning that was not streamed."""
    answered = [r for r in requests if r.error is None]
    return why_first_tokens_are_hidden(answered) or why_no_values(requests, key)


def why_first_tokens_are_hidden(answered: Sequence[RequestTiming]) -> str:
    """Why the first token of some ``answered`` requests cannot have been seen; empty if all were seen."""
    hidden = sum(1 for r in answered if r.hidden_tokens)
    if not hidden:
        return ""
    began = f"{hidden} of {len(answered)} answers began with reasoning that the server counted and did not stream"
    return f"{began}: limit ttft_answer instead"


def why_no_token_times(requests: Sequence[RequestTiming], key: str) -> str:
    """The same for a latency that needs to know how many tokens came when."""
    long = [r for r in requests if r.error is None and len(r.chunks) > 1]
    if long and not _why_not_streamed(requests):
        if all(r.output_tokens is None for r in long):
            return NO_TOKEN_COUNT
        return "the server sends several tokens in a chunk and does not say how many"
    return why_no_values(requests, key)


def why_no_answer_token(requests: Sequence[RequestTiming], key: str) -> str:
    """The same for the first token that is not reasoning."""
    if any(r.chunks for r in requests if r.error is None) and not _why_not_streamed(requests):
        return "no answer got past its reasoning"
    return why_no_values(requests, key)


def why_answers_are_missing(answered: Sequence[RequestTiming]) -> str:
    """Why the times to the first answer token are not those of all ``answered`` requests; empty if they are.

    Leaving out those that took longest would make the others look fast.
    """
    unanswered = sum(1 for r in answered if r.chunks and r.ttft_answer is None)
    return f"{unanswered} of {len(answered)} answers never got past their reasoning" if unanswered else ""


def _why_not_streamed(requests: Sequence[RequestTiming]) -> str:
    if reason := why_unanswered(requests):
        return reason
    streamed = any(r.streamed for r in requests if r.error is None)
    return "" if streamed else "answers were not streamed: use stream=True"
