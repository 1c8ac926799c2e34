"""Computes KV cache in use and wasted on a server with slots, each with room for a whole context.

Such a server need not be polled: the tokens of a request say how much its slot holds.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from pytest_llmperf.engines.api.observation import Observation, Observed
from pytest_llmperf.engines.kv_cache.looks import why_unknown
from pytest_llmperf.measurement.reading import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.measurement.window import Window


@dataclass(frozen=True)
class Slots:
    """``context`` is the size of one slot in tokens; ``token_bytes`` of a token, None for ``reason`` if unknown."""

    context: int
    token_bytes: float | None
    reason: str = ""

    def readings(self, requests: Sequence[RequestTiming]) -> dict[str, Reading]:
        """``memory.kv_cache`` and ``memory.kv_waste`` of a test with these requests."""
        return {"memory.kv_cache": self.in_use(requests), "memory.kv_waste": self.waste(requests)}

    def in_use(self, requests: Sequence[RequestTiming]) -> Reading:
        """The largest number of KV bytes that tokens of running requests took at a time."""
        if self.token_bytes is None:
            return Reading.missing(self.reason)
        changes = _changes(requests)
        if isinstance(changes, Missing):
            return Reading.missing(changes.reason)
        tokens = max(itertools.accumulate(change.tokens for change in changes))
        how = f"{tokens} tokens of {self.token_bytes:g} B each, by the requests' own counts"
        return Reading(tokens * self.token_bytes, how, samples=len(requests))

    def levels(self, requests: Sequence[RequestTiming]) -> tuple[tuple[int, int], ...]:
        """Time in ns and KV bytes in use after each change; empty if they are not known."""
        changes = _changes(requests)
        if self.token_bytes is None or isinstance(changes, Missing):
            return ()
        held = itertools.accumulate(change.tokens for change in changes)
        return tuple((change.at_ns, round(n * self.token_bytes)) for change, n in zip(changes, held, strict=True))

    def waste(self, requests: Sequence[RequestTiming]) -> Reading:
        """1 − tokens held ÷ room of the slots that ran, over the time from first tokens to last ones."""
        changes = _changes(requests)
        if isinstance(changes, Missing):
            return Reading.missing(changes.reason)
        held = room = tokens = slots = 0
        for change, following in itertools.pairwise(changes):
            tokens += change.tokens
            slots += change.slots
            held += tokens * (following.at_ns - change.at_ns)
            room += slots * self.context * (following.at_ns - change.at_ns)
        if not room:
            return Reading.missing("no answer was long enough: its tokens came all at once")
        return Reading(max(0.0, 1 - held / room), f"slots of {self.context} tokens", samples=len(requests))


class SlotObservation(Observation):
    """Observes the KV cache of a server with these slots; ``slots`` is None if the server does not state them."""

    def __init__(self, readings: Callable[[], Mapping[str, Reading]], slots: Slots | None) -> None:
        super().__init__(readings)
        self._slots = slots

    def read(self, requests: Sequence[RequestTiming], window: Window) -> Observed:
        if self._slots is None:
            return super().read(requests, window)
        return Observed({**self._readings(), **self._slots.readings(requests)})

    def end(self, requests: Sequence[RequestTiming], window: Window) -> Observed:
        seen = self.read(requests, window)
        return seen if self._slots is None else replace(seen, kv_levels=self._slots.levels(requests))


class _Change(NamedTuple):
    """Tokens and slots that are taken, or given back, at a moment. At the same moment, taking sorts first."""

    at_ns: int
    back: bool
    tokens: int
    slots: int


def _changes(requests: Sequence[RequestTiming]) -> list[_Change] | Missing:
    """The changes by the requests in order of time, or why they are unknown."""
    found = []
    for request in requests:
        counts = request.tokens_per_chunk
        if counts is None or request.prompt_tokens is None:
            return Missing(why_unknown(requests))
        first, last = request.chunks[0], request.chunks[-1]
        found.append(_Change(first.at_ns, False, request.prompt_tokens, 1))
        found += [_Change(chunk.at_ns, False, n, 0) for chunk, n in zip(request.chunks, counts, strict=True)]
        found.append(_Change(last.at_ns, True, -request.prompt_tokens - sum(counts), -1))
    return sorted(found) if found else Missing(why_unknown(requests))
