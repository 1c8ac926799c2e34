"""Embeddings without a model: texts with words in common, or words alike, point in like directions."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORD = re.compile(r"\w+")
# Words that most texts have say little of what one is about.
_COMMON_LIST = """
a about after all an and any are as at be before but by can did do does for from had has have how i if in into is it its
may my no not of on one or our she he so than that the their them then there they this to up was we were what when where
which who why will with would you your
"""
_COMMON = frozenset(_COMMON_LIST.split())
_COMMON_WEIGHT, _PART_WEIGHT = 0.1, 0.35
_PLACES = 4


def embed(text: str, dimensions: int) -> list[float]:
    """A vector of length 1 for a text, the same each time; a text without words has one of its own."""
    vector = [0.0] * dimensions
    for feature, weight in _find_features(text).items() or {f"\0{text}": 1.0}.items():
        for place, sign in _find_places(feature):
            vector[place % dimensions] += sign * weight
    length = math.sqrt(math.fsum(value * value for value in vector))
    if not length:  # its features have cancelled each other, as they may where there are few dimensions
        vector[0] = length = 1.0
    return [value / length for value in vector]


def compare(one: Sequence[float], other: Sequence[float]) -> float:
    """How alike two vectors of length 1 are, from 0 to 1: their cosine, and 0 for all that point apart."""
    return min(1.0, max(0.0, math.fsum(a * b for a, b in zip(one, other, strict=True))))


def _find_features(text: str) -> dict[str, float]:
    """The words of a text, and parts of three letters, which words of one stem share."""
    found: dict[str, float] = {}
    for word, times in Counter(_WORD.findall(text.lower())).items():
        weight = math.sqrt(times) * (_COMMON_WEIGHT if word in _COMMON else 1.0)
        found[word] = weight
        parts = [f"{part}…" for part in _cut(word)]
        for part in parts:
            found[part] = found.get(part, 0.0) + weight * _PART_WEIGHT
    return found


def _cut(word: str) -> list[str]:
    bordered = f"<{word}"
    return [bordered[at : at + 3] for at in range(len(bordered) - 2)]


@lru_cache(maxsize=65536)
def _find_places(feature: str) -> tuple[tuple[int, int], ...]:
    """Where a feature stands in vectors, with which sign: drawn by its digest, so that it is the same everywhere."""
    digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=2 * _PLACES).digest()
    numbers = (int.from_bytes(digest[at : at + 2], "little") for at in range(0, 2 * _PLACES, 2))
    return tuple((number >> 1, 1 if number & 1 else -1) for number in numbers)
