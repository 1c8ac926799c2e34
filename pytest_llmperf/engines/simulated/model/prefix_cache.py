"""A prefix cache as a server of a model has one: the beginnings of all prompts since it was last emptied."""

from __future__ import annotations

from itertools import accumulate, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class PrefixCache:
    """Knows each beginning of an earlier prompt. ``cached_tokens`` counts what has come from it in all."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self.cached_tokens = 0

    def take(self, prompt: Sequence[str]) -> int:
        """Adds a prompt, and returns how many tokens of it were known: all but the last one at most, as everywhere."""
        beginnings = list(_hash_beginnings(prompt))
        new = next((place for place, known in enumerate(beginnings) if known not in self._known), len(beginnings))
        self._known.update(beginnings)
        cached = max(0, min(new, len(prompt) - 1))
        self.cached_tokens += cached
        return cached

    def clear(self) -> None:
        """Forgets all prompts."""
        self._known.clear()


def _hash_beginnings(prompt: Sequence[str]) -> Iterable[int]:
    return islice(accumulate(prompt, lambda before, word: hash((before, word)), initial=0), 1, None)
