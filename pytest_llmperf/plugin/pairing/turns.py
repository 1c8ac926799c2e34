"""The order of turns in the pairs of a test."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_SEED = 2**31


def draw_seed() -> int:
    """A seed for a run that was given none."""
    return random.SystemRandom().randrange(MOST_SEED)


def draw_orders(seed: int, nodeid: str) -> Iterator[bool]:
    """Whether the old engine comes first, for each pair of a test, without end.

    Drawn at random, and so that each two pairs have both orders: what drifts, or favours who comes second, cancels out.
    """
    generator = random.Random(f"{seed} {nodeid}")
    while True:
        first = generator.random() < 0.5
        yield first
        yield not first
