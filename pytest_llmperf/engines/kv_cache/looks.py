"""Computes KV cache in use and wasted, from regular polls of an engine and the tokens that its requests held."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.request import RequestTiming

BLIND_NS = 250_000_000
BLIND_SHARE = 0.2
DOUBTFUL_SHARE = 0.1


@dataclass(frozen=True)
class KVPool:
    """The KV blocks of an engine: ``blocks`` in all, each for ``block_tokens`` tokens.

    ``total_bytes`` is the memory of all; None if the engine does not state it. ``keeps_all_tokens`` says whether a
    request holds a block for all of its tokens: a model with a sliding window gives back those that it has left behind.
    """

    blocks: int
    block_tokens: int
    total_bytes: float | None = None
    keeps_all_tokens: bool = True

    @property
    def usable(self) -> int:
        """The blocks that requests may hold: vLLM keeps one empty."""
        return self.blocks - 1

    @property
    def block_bytes(self) -> float | None:
        return None if self.total_bytes is None else self.total_bytes / self.blocks


@dataclass(frozen=True)
class KVPoll:
    """One poll of an engine: blocks in use, and requests running and waiting.

    ``at_ns`` (monotonic clock) is the middle of the ``took_ns`` that the poll took; the values are from some moment
    within.
    """

    at_ns: int
    used_blocks: int
    running: float
    waiting: float
    took_ns: int = 0


def list_levels(pool: KVPool, polls: Sequence[KVPoll]) -> tuple[tuple[int, int], ...]:
    """Time in ns and bytes in use of each poll; empty if the size of a block is not known."""
    size = pool.block_bytes
    return () if size is None else tuple((poll.at_ns, round(poll.used_blocks * size)) for poll in polls)


class TokensOverTime:
    """The tokens that a request held in the KV cache, from its first token to its last."""

    def __init__(self, request: RequestTiming) -> None:
        counts = request.tokens_per_chunk
        self.known = request.prompt_tokens is not None and counts is not None
        self._stamps = [chunk.at_ns for chunk in request.chunks]
        self._totals = []
        total = request.prompt_tokens or 0
        for count in counts or ():
            total += count
            self._totals.append(total)

    def active(self, at_ns: int) -> bool:
        return bool(self._stamps) and self._stamps[0] <= at_ns < self._stamps[-1]

    def at(self, at_ns: int) -> int:
        return self._totals[max(0, bisect_right(self._stamps, at_ns) - 1)]

    def count_within(self, look: KVPoll) -> int:
        """Tokens that came during the poll."""
        return self.at(look.at_ns + look.took_ns // 2) - self.at(look.at_ns - look.took_ns // 2)


def find_longest_gap(polls: Sequence[KVPoll], requests: Sequence[RequestTiming]) -> int:
    """The longest time between two polls while requests ran, in ns; 0 if it is too short to matter.

    It matters if it is at least :data:`BLIND_NS` and more than :data:`BLIND_SHARE` of the time from the first request
    to the last answer: a peak in that time would not have been seen.
    """
    if not requests:
        return 0
    begin, end = min(r.sent_ns for r in requests), max(r.end_ns for r in requests)
    stamps = [begin, *(p.at_ns for p in polls if begin < p.at_ns < end), end]
    gap = max(b - a for a, b in itertools.pairwise(stamps))
    return gap if gap >= BLIND_NS and gap > BLIND_SHARE * (end - begin) else 0


def count_blocks_alone(requests: Sequence[RequestTiming], block_tokens: int) -> int:
    """Blocks that the largest request held at its end; 0 if two ran at a time, or a token count is unknown.

    The last token of an answer is not kept.
    """
    ordered = sorted(requests, key=lambda request: request.sent_ns)
    if any(b.sent_ns < a.end_ns for a, b in itertools.pairwise(ordered)):
        return 0
    if any(r.error is not None or r.prompt_tokens is None or r.output_tokens is None for r in requests):
        return 0
    held = [(r.prompt_tokens or 0) + (r.output_tokens or 0) - 1 for r in requests]
    return max((-(-tokens // block_tokens) for tokens in held), default=0)


def compute_waste(polls: Sequence[KVPoll], requests: Sequence[RequestTiming], block_tokens: int) -> Reading:
    """1 − tokens held ÷ tokens that the blocks handed out have room for, over the polls.

    A poll counts only if the requests that ran were exactly those that had begun to answer: how much a request holds
    that waits for its first token, or was preempted, is unknown. A poll that took so long that :data:`DOUBTFUL_SHARE`
    of the room was filled meanwhile does not count either.
    """
    lives = [TokensOverTime(request) for request in requests]
    if any(request.cached_tokens for request in requests):
        return Reading.missing("requests shared cached blocks: whose tokens a block holds is not known")
    if not lives or any(not life.known for life in lives):
        return Reading.missing(why_unknown(requests))
    held = room = 0.0
    count = 0
    for poll in polls:
        active = [life for life in lives if life.active(poll.at_ns)]
        if active and len(active) == poll.running and poll.used_blocks:
            space = poll.used_blocks * block_tokens
            if sum(life.count_within(poll) for life in active) > DOUBTFUL_SHARE * space:
                continue
            held += sum(life.at(poll.at_ns) for life in active)
            room += space
            count += 1
    if not room:
        return Reading.missing("no look at the engine fell into a time when only requests ran that had begun to answer")
    how = f"blocks of {block_tokens} tokens; mean of {count} looks"
    return Reading(max(0.0, 1 - held / room), how, samples=count)


def why_unknown(requests: Sequence[RequestTiming]) -> str:
    """Why it is not known how many tokens each request held over time."""
    if not requests:
        return "the test sent no request through llm_client"
    if not all(request.streamed for request in requests):
        return "answers were not streamed: use stream=True"
    return "the server did not say how many tokens each request held over time"
