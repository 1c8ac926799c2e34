"""An answer of a model: as it arrived from the server, and as it was read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.traffic.answers.asked import check_asked, check_full_length
from pytest_llmperf.traffic.answers.counts import Streamed, check_streamed, check_whole, count_hidden

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.traffic.answers.counts import Whole
    from pytest_llmperf.traffic.answers.usage import TokenCounts


@dataclass(frozen=True)
class Answer:
    """What a model answered to one request, and how long it took.

    Attributes:
        text: the text of the answer, without the reasoning.
        reasoning: the text of the reasoning, or "".
        tool_calls: tool calls in the form of the OpenAI API.
        finish_reason: why the model stopped, such as ``"stop"`` or ``"length"``; None if the server did not say.
        usage: the token counts of the server; None if it gave none.
        timing: the times and token counts of the request.
        raw: the JSON body; the last event of a stream.
    """

    text: str
    reasoning: str
    tool_calls: list[dict[str, Any]]
    finish_reason: str | None
    usage: dict[str, Any] | None
    timing: RequestTiming
    raw: dict[str, Any]


@dataclass(frozen=True)
class Arrival:
    """An answer as it came over the wire. Times are ns of ``time.monotonic_ns()``.

    Attributes:
        sent_ns: moment before the request was sent.
        end_ns: arrival of the last byte.
        pieces: the body as (stamp, bytes), in order of arrival.
        status: HTTP status; None if no head came.
        content_type: header of the answer, or "".
        streamed: whether a stream was requested.
        shared_prefix: whether the prompt was allowed to come from the prefix cache.
        fault: why the answer did not arrive completely, or "".
        scheduled_ns: moment at which the request was to be sent; None without a schedule.
        asked_tokens: the most output tokens that were asked for; None without a limit, and if it is not known.
        full_length: whether the server was told to end the answer there and not earlier.
        several: whether several answers were asked for at once.
        asked_inputs: how many texts were to be embedded or ranked; None if that is not known.
        asked_results: how many vectors or scores were asked for of them; None if that is not known.
    """

    sent_ns: int
    end_ns: int
    pieces: Sequence[tuple[int, bytes]] = ()
    status: int | None = None
    content_type: str = ""
    streamed: bool = True
    shared_prefix: bool = False
    fault: str = ""
    scheduled_ns: int | None = None
    asked_tokens: int | None = None
    full_length: bool = False
    several: bool = False
    asked_inputs: int | None = None
    asked_results: int | None = None

    @property
    def is_stream(self) -> bool:
        """Whether the body is a stream. Some servers answer a request for a stream with a whole body."""
        kind = self.content_type.lower()
        return self.streamed and ("ndjson" in kind or "json" not in kind)

    @property
    def body(self) -> str:
        """The whole body; bytes that are not UTF-8 are replaced."""
        return b"".join(data for _, data in self.pieces).decode(errors="replace")


def time_answer(
    arrival: Arrival, counts: TokenCounts, came: Streamed | Whole, *, error: str | None, **fields: Any
) -> RequestTiming:
    """Returns the timing of an answer, with what speaks against its counts.

    ``error`` is why the answer does not count, None if it does; ``fields`` are further ones of the timing.
    """
    if error is None and arrival.full_length:
        error = check_full_length(counts.output, arrival.asked_tokens) or None
    hidden, fault = 0, counts.fault or check_asked(counts.output, arrival.asked_tokens)
    if isinstance(came, Streamed):
        hidden = count_hidden(counts, came)
        fault = fault or check_streamed(counts, hidden, came)
    elif not arrival.full_length:
        # Beyond its end a model may go on with tokens that have no text.
        fault = fault or check_whole(counts, came)
    return RequestTiming(
        sent_ns=arrival.sent_ns,
        end_ns=arrival.end_ns,
        output_tokens=counts.output,
        prompt_tokens=counts.prompt,
        cached_tokens=counts.cached,
        hidden_tokens=hidden,
        asked_tokens=arrival.asked_tokens,
        count_fault=fault,
        error=error,
        streamed=arrival.is_stream,
        status=arrival.status,
        shared_prefix=arrival.shared_prefix,
        scheduled_ns=arrival.scheduled_ns,
        **fields,
    )
