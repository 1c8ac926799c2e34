"""What is kept of prompts: digests of their beginnings, by which one that was sent before is known, and no text."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_MARK_BYTES = 8
_FIRST_EDGE = 64
_OTHERS = "requests that are not the test's ran at the same time"
_GROWTH = 1.5


def _list_edges() -> list[int]:
    edges = [_FIRST_EDGE]
    while edges[-1] < 1 << 30:
        edges.append(round(edges[-1] * _GROWTH))
    return edges


# The lengths (characters) at which the beginning of a prompt gets a mark: 64, 96, 144, and so on.
_EDGES = _list_edges()


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt.

    Attributes:
        length: characters of its text.
        marks: digests (8 bytes each) of its beginnings at growing lengths; the last one is of the whole prompt.
        fresh: whether the request itself keeps the prompt from being taken from a cache.
        shared: whether the test has asked that it may be taken from one.
        others: marks of the single prompts of a request for several, which are in the cache afterwards as well.
    """

    length: int
    marks: bytes
    fresh: bool = False
    shared: bool = False
    others: bytes = b""

    @staticmethod
    def of(
        pieces: Iterable[tuple[str, bool]], context: str = "", *, fresh: bool = False, shared: bool = False
    ) -> Prompt:
        """The prompt that consists of these pieces, in their order.

        Args:
            pieces: each with whether it is text, whose characters count, or data such as an image.
            context: what must be equal, beside the beginning, for two prompts to have anything in common: the model.
            fresh: as the attribute.
            shared: as the attribute.
        """
        digest = blake2b(context.encode(errors="replace"), digest_size=_MARK_BYTES)
        marks: list[bytes] = []
        edges = iter(_EDGES)
        edge = next(edges)
        length = 0
        for piece, counts in pieces:
            at = 0
            while counts and length + len(piece) - at >= edge:
                stop = at + edge - length
                digest.update(piece[at:stop].encode(errors="replace"))
                marks.append(digest.digest())
                at, length, edge = stop, edge, next(edges)
            digest.update(piece[at:].encode(errors="replace"))
            length += (len(piece) - at) * counts
        digest.update(b"\0end")
        return Prompt(length, b"".join((*marks, digest.digest())), fresh, shared)

    @property
    def numbers(self) -> Sequence[int]:
        """The marks as numbers."""
        return _unpack(self.marks)

    @property
    def sent_numbers(self) -> Sequence[int]:
        """The marks of all that a request with this prompt leaves in a cache, as numbers."""
        return _unpack(self.marks + self.others)


def _unpack(marks: bytes) -> Sequence[int]:
    return struct.unpack(f"{len(marks) // _MARK_BYTES}Q", marks)


class Overlap(NamedTuple):
    """What a prompt has in common with the prompts of a history.

    Attributes:
        least: characters, at least, at its beginning that an earlier prompt had too.
        most: characters, at most.
        whole: whether the very same prompt was sent before.
    """

    least: int = 0
    most: int = 0
    whole: bool = False


@dataclass
class PromptHistory:
    """The prompts that were sent before, as their marks."""

    marks: set[int] = field(default_factory=set)

    def add(self, prompt: Prompt) -> None:
        """Adds a prompt."""
        self.marks.update(prompt.sent_numbers)

    def find_overlap(self, prompt: Prompt) -> Overlap:
        """What the prompt has in common with those that were added."""
        if not self.marks:
            return Overlap()
        *beginnings, whole = prompt.numbers
        if whole in self.marks:
            return Overlap(prompt.length, prompt.length, whole=True)
        known = sum(1 for _ in _take_known(beginnings, self.marks))
        least = _EDGES[known - 1] if known else 0
        return Overlap(least, min(prompt.length, _EDGES[known] - 1))


def _take_known(marks: Sequence[int], known: set[int]) -> Iterator[int]:
    for mark in marks:
        if mark not in known:
            return
        yield mark


@dataclass(frozen=True)
class PromptCache:
    """What the caches of an engine could hold when a test began.

    Attributes:
        as_found: whether the test asked for them as they are (``llm_cache("warm")``).
        emptied: whether they were emptied before each round.
        reason: why they cannot be, as a clause; empty if they can.
        fault: why they were not this time, although they can be, in one sentence; else empty.
        earlier: the prompts that were sent before the test; empty if the caches were emptied.
        cached_tokens: prompt tokens that the engine itself says came from its caches during the test; None if it does
            not say, which is not the same as an answer that says it of its own prompt.
    """

    as_found: bool = False
    emptied: bool = False
    reason: str = ""
    fault: str = ""
    earlier: PromptHistory = field(default_factory=PromptHistory)
    cached_tokens: int | None = None

    def add_others(self, others: Sequence[Iterable[Prompt | None]]) -> PromptCache:
        """The same if requests with these prompts, which are not the test's, ran during the test."""
        if not others:
            return self
        earlier = PromptHistory(set(self.earlier.marks))
        for prompt in (prompt for prompts in others for prompt in prompts if prompt is not None):
            earlier.add(prompt)
        return replace(self, emptied=False, reason=self.reason or _OTHERS, earlier=earlier)
