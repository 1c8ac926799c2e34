"""The chunks of one streamed answer: as objects, or packed into arrays if there are millions of them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import sub
from typing import TYPE_CHECKING, Literal, Self, overload

if TYPE_CHECKING:
    from collections.abc import Iterator

ChunkKind = Literal["text", "reasoning", "tool"]
_KINDS: tuple[ChunkKind, ...] = ("text", "reasoning", "tool")
_REASONING = bytes([_KINDS.index("reasoning")])
LARGEST = 2**32 - 1
"""The most tokens of a chunk, and the longest gap in ns, that take 4 bytes in a :class:`PackedChunks`."""


@dataclass(frozen=True)
class Chunk:
    """One piece of a streamed answer that carries tokens; role-only, empty and usage-only pieces are not chunks.

    Attributes:
        at_ns: when it arrived, in ns of ``time.monotonic_ns()``.
        kind: what its tokens are.
        tokens: how many it holds, as the server counts them; None if it does not say.
    """

    at_ns: int
    kind: ChunkKind = "text"
    tokens: int | None = None


class PackedChunks(Sequence[Chunk]):
    """A sequence of chunks in 4 to 12 bytes each.

    Attributes:
        first_ns: the arrival of the first, in ns.
        gaps: the ns between each and the next.
        kinds: the place of each kind in ``_KINDS``; empty if all are text.
        tokens: the count of each; empty if each holds one token, None if the server gave no counts.
    """

    __slots__ = ("first_ns", "gaps", "kinds", "tokens")

    def __init__(self, first_ns: int, gaps: array[int], kinds: bytes, tokens: array[int] | None) -> None:
        self.first_ns = first_ns
        self.gaps = gaps
        self.kinds = kinds
        self.tokens = tokens

    @classmethod
    def pack(cls, chunks: Sequence[Chunk]) -> Self | tuple[()]:
        """The same chunks, packed, exact to the nanosecond; an empty tuple for no chunk at all.

        Counts are kept only if every chunk has one.
        """
        if isinstance(chunks, cls):
            return chunks
        counts = [chunk.tokens for chunk in chunks if chunk.tokens is not None]
        known = counts if len(counts) == len(chunks) else None
        return cls.of([chunk.at_ns for chunk in chunks], [chunk.kind for chunk in chunks], known)

    @classmethod
    def of(cls, stamps: Sequence[int], kinds: Sequence[ChunkKind], counts: Sequence[int] | None) -> Self | tuple[()]:
        """The chunks with these stamps, kinds and numbers of tokens; an empty tuple for none."""
        if not stamps:
            return ()
        gaps = list(map(sub, stamps[1:], stamps))
        width = "q" if gaps and (max(gaps) > LARGEST or min(gaps) < 0) else "I"
        others = bytes(map(_KINDS.index, kinds)) if set(kinds) != {"text"} else b""
        tokens = None if counts is None else array("I", [] if set(counts) == {1} else counts)
        return cls(stamps[0], array(width, gaps), others, tokens)

    @property
    def stamps(self) -> Iterator[int]:
        """When each arrived, in ns."""
        return accumulate(self.gaps, initial=self.first_ns)

    @property
    def last_ns(self) -> int:
        """When the last arrived, in ns."""
        return self.first_ns + sum(self.gaps)

    @property
    def answer_ns(self) -> int | None:
        """When the first that is not reasoning arrived, in ns; None if all are reasoning."""
        place = len(self.kinds) - len(self.kinds.lstrip(_REASONING))
        if self.kinds and place == len(self.kinds):
            return None
        return self.first_ns + sum(self.gaps[:place])

    @property
    def counts(self) -> list[int] | None:
        """The number of tokens in each; None if the server gave no counts."""
        if self.tokens is None:
            return None
        return self.tokens.tolist() or [1] * len(self)

    def __len__(self) -> int:
        return len(self.gaps) + 1

    def __iter__(self) -> Iterator[Chunk]:
        kinds: list[ChunkKind] = [_KINDS[kind] for kind in self.kinds] or ["text"] * len(self)
        counts: Sequence[int | None] = self.counts or [None] * len(self)
        return map(Chunk, self.stamps, kinds, counts)

    @overload
    def __getitem__(self, index: int) -> Chunk: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Chunk, ...]: ...
    def __getitem__(self, index: int | slice) -> Chunk | tuple[Chunk, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        place = range(len(self))[index]
        at_ns = self.first_ns + sum(self.gaps[:place])
        tokens = None if self.tokens is None else self.tokens[place] if self.tokens else 1
        return Chunk(at_ns, _KINDS[self.kinds[place]] if self.kinds else "text", tokens)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"PackedChunks({len(self)} chunks from {self.first_ns})"


def list_stamps(chunks: Sequence[Chunk]) -> list[int]:
    """When each arrived, in ns."""
    return list(chunks.stamps) if isinstance(chunks, PackedChunks) else [chunk.at_ns for chunk in chunks]


def find_edges(chunks: Sequence[Chunk]) -> tuple[int, int]:
    """When the first and the last arrived, in ns; there must be one at least."""
    if isinstance(chunks, PackedChunks):
        return chunks.first_ns, chunks.last_ns
    return chunks[0].at_ns, chunks[-1].at_ns


def find_answer_ns(chunks: Sequence[Chunk]) -> int | None:
    """When the first that is not reasoning arrived, in ns; None if all are reasoning."""
    if isinstance(chunks, PackedChunks):
        return chunks.answer_ns
    return next((chunk.at_ns for chunk in chunks if chunk.kind != "reasoning"), None)


def list_stated_counts(chunks: Sequence[Chunk]) -> list[int] | None:
    """The number of tokens in each, as the server counts them; None unless every chunk has a count."""
    if isinstance(chunks, PackedChunks):
        return chunks.counts
    counts = [chunk.tokens for chunk in chunks if chunk.tokens is not None]
    return counts if len(counts) == len(chunks) else None
