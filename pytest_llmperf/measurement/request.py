"""One timed request, from which latencies and rates are computed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_llmperf.measurement.chunks import find_answer_ns, find_edges, list_stamps, list_stated_counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.chunks import Chunk
    from pytest_llmperf.measurement.prompts import Prompt

Phase = Literal["warmup", "steady", "cooldown"]
"""The part of a load that a request belongs to; only ``steady`` ones are judged."""


Work = Literal["text", "embed", "rank"]
"""What a request has the engine do: generate text, embed texts, or give texts ranks, scores or classes."""


@dataclass(frozen=True)
class ServerTimes:
    """Server-reported durations of one request, in ns; None if not reported.

    Attributes:
        startup: until a running model was granted.
        prompt: reading the prompt, up to and including the first token.
        decode: from the first token to the last.
        total: the whole request.
        drafted: whether a draft was checked, which gives several tokens at a time.
    """

    startup: int | None = None
    prompt: int | None = None
    decode: int | None = None
    total: int | None = None
    drafted: bool = False

    @property
    def first(self) -> int | None:
        """Until the first token, without waiting for a slot if ``total`` is not reported; None if not known."""
        if self.total is not None and self.decode is not None:
            return max(0, self.total - self.decode)
        return None if self.prompt is None else self.prompt + (self.startup or 0)

    @property
    def queue(self) -> int | None:
        """``total`` less the reported parts, in ns, at least 0; None if ``total`` is not reported.

        That is the time spent waiting for a slot, and a little work between the parts.
        """
        if self.total is None:
            return None
        return max(0, self.total - sum(part or 0 for part in (self.startup, self.prompt, self.decode)))


Way = Literal["call", "list", "app"]
"""How a request was sent: by a call of ``llm_client``, in a list of prompts, or by the app through its address."""


@dataclass(frozen=True)
class StampLag:
    """How late the stamps of one request may be.

    Attributes:
        way: how the request was sent.
        sending_ns: by which it may have been sent later than its stamp says, in ns.
        reading_ns: by which each of its arrivals may have been earlier than its stamp says, in ns.
    """

    way: Way
    sending_ns: int
    reading_ns: int

    @property
    def seconds(self) -> float:
        """By which a latency from its sending on may be too long."""
        return (self.sending_ns + self.reading_ns) / 1e9


@dataclass(frozen=True, slots=True)
class RequestTiming:
    """One request, time-stamped at the socket. All moments are ns of ``time.monotonic_ns()``.

    Attributes:
        sent_ns: just before the first byte was sent.
        end_ns: the arrival of the last byte.
        chunks: the pieces of a streamed answer that carry tokens; empty if it was not streamed, or nothing came.
        output_tokens, prompt_tokens, cached_tokens: counted by the server; None if it did not say.
        streamed: whether the answer was asked for as a stream.
        status: the HTTP status; None if there was none.
        finish_reason: as the server gave it; None if it gave none.
        error: why the request failed; None if it was answered in full.
        scheduled_ns: when an open loop meant to send it; None outside of open loops.
        shared_prefix: whether the test let its prompt come from a cache.
        server: durations reported by the server; None if it reports none.
        phase: the part of a load that it belongs to.
        hidden_tokens: those of ``output_tokens`` that are reasoning which was not streamed.
        asked_tokens: the most output tokens that were asked for; None without a limit, and if it is not known.
        model: the model that answered, as the server names it; empty if it did not say.
        count_fault: why the token counts cannot be those of what came, in one sentence; empty if they can.
        prompt: digests of its prompt; None if that was not read.
        lag: how late its stamps may be; None if that is not known, or only of its whole load.
        drafted_tokens: tokens that were drafted for its answer, accepted or not; None if the server did not say.
        accepted_tokens: those of ``drafted_tokens`` that became part of the answer.
        adapter: the adapter that it asked for in place of the model itself; empty for the model.
        cancelled: whether it failed because its client gave it up.
        work: what it has the engine do. Only a request for text has tokens of output.
        inputs: how many texts it has embedded or ranked; 0 of a request for text.
    """

    sent_ns: int
    end_ns: int
    chunks: Sequence[Chunk] = ()
    output_tokens: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    streamed: bool = True
    status: int | None = None
    finish_reason: str | None = None
    error: str | None = None
    scheduled_ns: int | None = None
    shared_prefix: bool = False
    server: ServerTimes | None = None
    phase: Phase = "steady"
    hidden_tokens: int = 0
    asked_tokens: int | None = None
    model: str = ""
    count_fault: str = ""
    prompt: Prompt | None = None
    lag: StampLag | None = None
    drafted_tokens: int | None = None
    accepted_tokens: int | None = None
    adapter: str = ""
    cancelled: bool = False
    work: Work = "text"
    inputs: int = 0

    @property
    def is_short(self) -> bool:
        """Whether it was answered with fewer tokens than were asked for."""
        if self.error is not None or self.output_tokens is None or self.asked_tokens is None:
            return False
        return self.output_tokens < self.asked_tokens

    @property
    def start_ns(self) -> int:
        """t0, from which latencies count: the scheduled moment if there is one, else the moment of sending."""
        return self.sent_ns if self.scheduled_ns is None else self.scheduled_ns

    @property
    def ttft(self) -> float | None:
        """Time to first token in seconds: t1 − t0, t1 the first chunk.

        None if the answer has no chunk, or began with reasoning that was not streamed.
        """
        if not self.chunks or self.hidden_tokens:
            return None
        return (find_edges(self.chunks)[0] - self.start_ns) / 1e9

    @property
    def visible_tokens(self) -> int | None:
        """The output tokens that were streamed; None if the server did not say."""
        return None if self.output_tokens is None else self.output_tokens - self.hidden_tokens

    @property
    def ttft_answer(self) -> float | None:
        """Time to the first chunk that is not reasoning, less t0, in seconds. None if no such chunk came."""
        first_ns = find_answer_ns(self.chunks)
        return None if first_ns is None else (first_ns - self.start_ns) / 1e9

    @property
    def tokens_after_first(self) -> float | None:
        """How many tokens came after the first chunk; None for fewer than two chunks, or tokens that were not counted.

        Without counts per chunk the first chunk is taken to hold an even share of the tokens.
        """
        if len(self.chunks) < 2:
            return None
        counts = self.tokens_per_chunk
        if counts is not None:
            return float(sum(counts[1:]))
        visible = self.visible_tokens
        return None if visible is None else visible - max(1.0, visible / len(self.chunks))

    @property
    def tpot(self) -> float | None:
        """Time per output token in seconds: (tn − t1) / (tokens after the first chunk).

        None for an answer of fewer than two chunks, and if the server did not count the tokens.
        """
        after_first = self.tokens_after_first
        if after_first is None or after_first <= 0:
            return None
        first_ns, last_ns = find_edges(self.chunks)
        return (last_ns - first_ns) / (after_first * 1e9)

    @property
    def e2e(self) -> float | None:
        """End-to-end time in seconds: tn − t0, tn the last chunk. None if a stream has no chunk.

        An answer that was not streamed ends with its last byte.
        """
        if self.chunks:
            return (find_edges(self.chunks)[1] - self.start_ns) / 1e9
        return None if self.streamed else (self.end_ns - self.start_ns) / 1e9

    @property
    def tokens_per_chunk(self) -> list[int] | None:
        """The number of tokens in each chunk; None if that is unknown, or if there are no chunks.

        Reasoning that was not streamed is counted with the first chunk, and taken off. Without counts per chunk, one
        token each is certain only if there are as many chunks as tokens. One token more is the end-of-sequence token,
        which is counted and not shown, unless the answer was cut at its length.
        """
        if not self.chunks:
            return None
        counts = list_stated_counts(self.chunks)
        if counts is not None and counts[0] > self.hidden_tokens:
            return [counts[0] - self.hidden_tokens, *counts[1:]] if self.hidden_tokens else counts
        unseen = (0,) if self.finish_reason == "length" else (0, 1)
        if self.visible_tokens is not None and self.visible_tokens - len(self.chunks) in unseen:
            return [1] * len(self.chunks)
        return None

    @property
    def chunk_gaps(self) -> list[float]:
        """The seconds before each chunk after the first; empty for an answer of fewer than two chunks."""
        return [(b - a) / 1e9 for a, b in itertools.pairwise(list_stamps(self.chunks))]

    @property
    def itl(self) -> list[float] | None:
        """Inter-token latencies in seconds, one before each token after the first.

        A chunk of k tokens gives its gap and k - 1 zeros. None if the tokens of each chunk cannot be told.
        """
        counts = self.tokens_per_chunk
        if counts is None:
            return None
        gaps = [0.0] * (counts[0] - 1)
        last_ns, *others = list_stamps(self.chunks)
        for at_ns, tokens in zip(others, counts[1:], strict=True):
            # Two chunks of one token (the end of the reasoning, the start of the answer) are counted as 1 and 0.
            if tokens:
                gaps.append((at_ns - last_ns) / 1e9)
                if tokens > 1:
                    gaps += [0.0] * (tokens - 1)
                last_ns = at_ns
        return gaps
