"""A timeline in fewer points, or as a line of blocks, without losing its spikes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

_Item = TypeVar("_Item")

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.-:=+*#"


def downsample(samples: Sequence[tuple[int, int]], points: int) -> list[tuple[int, int]]:
    """At most ``points`` of the (time, value) samples, in order: the smallest and the largest of each bucket.

    Raises:
        ValueError: fewer than two points are asked for.
    """
    if points < 2:
        raise ValueError(f"a timeline has at least 2 points, not {points}")
    if len(samples) <= points:
        return list(samples)
    kept: list[tuple[int, int]] = []
    for bucket in _buckets(samples, points // 2):
        extremes = {min(bucket, key=lambda s: s[1]), max(bucket, key=lambda s: s[1])}
        kept += sorted(extremes)
    return kept


def draw_sparkline(values: Sequence[float], width: int, blocks: str = BLOCKS) -> str:
    """``values`` in at most ``width`` characters, each the largest of its bucket.

    The lowest block stands for the smallest value, the highest for the largest; where all are the
    same, all are low.
    """
    if not values or width < 1:
        return ""
    low, high = min(values), max(values)
    scale = (len(blocks) - 1) / (high - low) if high > low else 0.0
    return "".join(blocks[round((max(b) - low) * scale)] for b in _buckets(values, min(width, len(values))))


def _buckets(items: Sequence[_Item], count: int) -> list[Sequence[_Item]]:
    edges = [i * len(items) // count for i in range(count + 1)]
    return [items[a:b] for a, b in pairwise(edges)]
