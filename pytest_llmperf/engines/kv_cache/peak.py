"""The largest number of KV blocks in use: by looks at the engine, and by what the tokens of its requests prove."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from pytest_llmperf.engines.kv_cache.looks import count_blocks_alone, find_longest_gap
from pytest_llmperf.engines.kv_cache.proof import Proven, find_possible, prove_peak
from pytest_llmperf.measurement.reading import Missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_llmperf.engines.kv_cache.looks import KVPoll, KVPool
    from pytest_llmperf.measurement.request import RequestTiming

POLLS_PER_SECOND = 20.0
# Four looks that did not come.
RARE_NS = 200_000_000
# By this share, and one block, more may have been in use than is known before the peak counts as not known.
TOLERATED_SHARE = 0.1


class Seen(NamedTuple):
    """What is known of an engine over a test: the looks at it, why there are none, its requests, and its own counts."""

    polls: Sequence[KVPoll]
    failure: str
    requests: Sequence[RequestTiming]
    preemptions: int = 0
    prefix_hits: float | None = None


class Fullest(NamedTuple):
    """The largest number of blocks in use at a time, how it was found, and from how many samples."""

    blocks: int
    how: str
    samples: int


def prove(pool: KVPool, seen: Seen) -> Proven:
    """What the tokens of the requests prove; nothing of blocks where a request does not keep all of its tokens."""
    proven = prove_peak(seen.requests, pool.block_tokens, seen.prefix_hits)
    return Proven(min(proven.blocks, pool.usable) if pool.keeps_all_tokens else 0, proven.running)


def find_fullest(pool: KVPool, seen: Seen, proven: Proven) -> Fullest | Missing:
    """When the most blocks were in use, or why that is not known."""
    blocks = f"blocks of {pool.block_tokens} tokens"
    if seen.preemptions:
        how = f"all {pool.usable} {blocks}: it was full, {seen.preemptions} preemptions"
        return Fullest(pool.usable, how, seen.preemptions)
    looked = max((p.used_blocks for p in seen.polls), default=0)
    alone = count_blocks_alone(seen.requests, pool.block_tokens) if pool.keeps_all_tokens else 0
    known = max(looked, proven.blocks, alone)
    doubt = "" if alone else _find_doubt(pool, seen, known)
    if known and doubt:
        return Missing(doubt)
    looks = _describe(seen.polls)
    if known and known == looked:
        return Fullest(known, f"{known} of {pool.blocks} {blocks}; {looks}", len(seen.polls))
    if alone and known == alone:
        how = f"{known} of {pool.blocks} {blocks}, by the requests' own counts: they came one after another"
        return Fullest(known, how, len(seen.requests))
    if known:
        how = (
            f"{known} of {pool.blocks} {blocks}, proven by tokens of requests that ran together; {looks}, saw {looked}"
        )
        return Fullest(known, how, len(seen.requests))
    if seen.requests:
        short = f"its requests were too short to be seen by {POLLS_PER_SECOND:g} polls a second"
        return Missing(seen.failure or doubt or short)
    if not seen.polls:
        return Missing(seen.failure or "the test was over before the first poll")
    return Fullest(0, f"none; {looks}", len(seen.polls))


def _find_doubt(pool: KVPool, seen: Seen, known: int) -> str:
    """Why much more may have been in use than is known, between two looks that were long apart; "" if it cannot."""
    blind_ns = find_longest_gap(seen.polls, seen.requests)
    enough = known * (1 + TOLERATED_SHARE) + 1
    for gap in _list_rare_gaps(seen.polls, seen.requests):
        possible = find_possible(seen.requests, pool.block_tokens, *gap.edges) if pool.keeps_all_tokens else None
        if possible is None:
            if gap.ns == blind_ns:
                return f"the server did not answer its polls for {gap.ns / 1e9:.2g} s while requests ran{_why(seen)}"
            continue
        possible = min(possible, pool.usable)
        # Where requests wait, the engine runs as many as it can, before and after as well.
        if possible > enough and (gap.ns == blind_ns or not gap.waiting):
            return (
                f"no look at the engine for {gap.ns / 1e9:.2g} s, in which its requests may have held {possible} "
                f"blocks of {pool.block_tokens} tokens: {known} are known{_why(seen)}"
            )
    return ""


def _why(seen: Seen) -> str:
    return f" ({seen.failure})" if seen.failure else ""


class _Gap(NamedTuple):
    """A time between two looks, and whether requests waited at one of them."""

    edges: tuple[int, int]
    waiting: bool

    @property
    def ns(self) -> int:
        return self.edges[1] - self.edges[0]


def _list_rare_gaps(polls: Sequence[KVPoll], requests: Sequence[RequestTiming]) -> Iterator[_Gap]:
    """The times without a look that are long, or half of the time in which requests ran."""
    if not requests:
        return
    begin, end = min(r.sent_ns for r in requests), max(r.end_ns for r in requests)
    within = [(p.at_ns, p.waiting > 0) for p in polls if begin < p.at_ns < end]
    for (start_ns, before), (end_ns, after) in itertools.pairwise([(begin, False), *within, (end, False)]):
        gap = _Gap((start_ns, end_ns), before or after)
        if gap.ns >= min(RARE_NS, (end - begin) // 2):
            yield gap


def _describe(polls: Sequence[KVPoll]) -> str:
    if len(polls) < 2:
        return f"{len(polls)} look{'' if polls else 's'}"
    gap = max(b.at_ns - a.at_ns for a, b in itertools.pairwise(polls))
    return f"{len(polls)} looks, at most {gap / 1e6:.0f} ms apart"
