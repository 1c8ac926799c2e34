"""What the timed tokens of requests prove of an engine's KV cache, without a look at the engine.

A request holds the blocks of its prompt and of what it has generated from its first token to its last. Tokens arrive in
the order in which the engine gives them, so that requests whose tokens arrive by turns ran together.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from pytest_llmperf.measurement.chunks import list_stamps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_llmperf.measurement.request import RequestTiming

# Stamps of two connections may be in the wrong order by as much, so that a request counts only until so long before
# its last token.
SKEW_NS = 5_000_000


class Proven(NamedTuple):
    """At least so many blocks were in use at one moment, and at least so many requests ran at one moment."""

    blocks: int
    running: int


class _Change(NamedTuple):
    """A request begins (1), ends (-1), or takes ``own`` more blocks; ``shared`` are those it found in the cache.

    At the same moment, giving back sorts first.
    """

    at_ns: int
    began: int
    own: int
    shared: int


def prove_peak(requests: Sequence[RequestTiming], block_tokens: int, hits: float | None) -> Proven:
    """The largest number of blocks and of requests that the requests' own tokens prove.

    ``hits`` are the prompt tokens that the engine found in its prefix cache over the same time; None if it does not
    count them. A block that several requests share counts once. Requests whose tokens are not known are left out.
    """
    found = _sweep(requests, block_tokens)
    if hits == 0 or all(request.cached_tokens is not None for request in requests):
        return found
    # Whose blocks were shared is not known: at every moment they may have been counted twice.
    apart = 0 if hits is None else found.blocks - int(hits) // block_tokens
    alone = max((_sweep([request], block_tokens).blocks for request in requests), default=0)
    return Proven(max(alone, apart), found.running)


def _sweep(requests: Sequence[RequestTiming], block_tokens: int) -> Proven:
    own = running = most_blocks = most_running = 0
    shared: Counter[int] = Counter()
    for change in sorted(change for request in requests for change in _list_changes(request, block_tokens)):
        own += change.own
        running += change.began
        shared[change.shared] += change.began
        most_running = max(most_running, running)
        if change.own > 0:
            most_blocks = max(most_blocks, own + max((size for size, users in shared.items() if users), default=0))
    return Proven(most_blocks, most_running)


def _list_changes(request: RequestTiming, block_tokens: int) -> Iterator[_Change]:
    counts = request.tokens_per_chunk
    if counts is None or request.prompt_tokens is None:
        return
    stamps = list_stamps(request.chunks)
    end_ns = stamps[-1] - SKEW_NS
    if stamps[0] >= end_ns:
        return
    shared = (request.cached_tokens or 0) // block_tokens
    tokens, held, began = request.prompt_tokens - 1, 0, 1  # the latest token is not kept yet
    for at_ns, count in zip(stamps, counts, strict=True):
        if at_ns >= end_ns:
            break
        tokens += count
        blocks = max(0, -(-tokens // block_tokens) - shared)
        if began or blocks > held:
            yield _Change(at_ns, began, blocks - held, shared)
            held, began = blocks, 0
    yield _Change(end_ns, -1, -held, shared)


def find_possible(requests: Sequence[RequestTiming], block_tokens: int, start_ns: int, end_ns: int) -> int | None:
    """At most so many blocks can these requests have held at one moment of a time; None if their tokens are not known.

    A request that has been sent, and has not ended, may hold all that it will hold by the end of that time.
    """
    changes: list[tuple[int, int]] = []
    for request in requests:
        if request.sent_ns >= end_ns or request.end_ns <= start_ns:
            continue
        tokens = _count_by(request, end_ns + SKEW_NS)
        if tokens is None:
            return None
        blocks = -(-tokens // block_tokens)
        changes += [(request.sent_ns, blocks), (request.end_ns, -blocks)]
    held = most = 0
    for _, blocks in sorted(changes):
        held += blocks
        most = max(most, held)
    return most


def _count_by(request: RequestTiming, at_ns: int) -> int | None:
    """The tokens of prompt and answer up to a moment; all of them where it is not known when they came."""
    if request.prompt_tokens is None or request.output_tokens is None:
        return None
    counts = request.tokens_per_chunk
    if counts is None or request.end_ns <= at_ns:
        return request.prompt_tokens + request.output_tokens
    stamps = list_stamps(request.chunks)
    return request.prompt_tokens + sum(count for at, count in zip(stamps, counts, strict=True) if at <= at_ns)
