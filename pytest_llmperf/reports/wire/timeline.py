"""A timeline in fewer points, without losing its spikes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

_Item = TypeVar("_Item")
_Sample = TypeVar("_Sample", bound="tuple[float, float]")


def downsample(samples: Sequence[_Sample], points: int) -> list[_Sample]:
    """At most ``points`` of the (time, value) samples, in order: the first, the last, and between them the smallest and
    the largest of each bucket.

    Samples inside a stretch of equal values are left out, but for its first and its last.

    Raises:
        ValueError: fewer than four points are asked for.
    """
    if points < 4:
        raise ValueError(f"a timeline has at least 4 points, not {points}")
    samples = _leave_out_level(samples)
    if len(samples) <= points:
        return list(samples)
    kept = [samples[0]]
    for bucket in split_evenly(samples[1:-1], points // 2 - 1):
        extremes = {min(bucket, key=lambda s: s[1]), max(bucket, key=lambda s: s[1])}
        kept += sorted(extremes)
    return _leave_out_level([*kept, samples[-1]])


def _leave_out_level(samples: Sequence[_Sample]) -> list[_Sample]:
    last = len(samples) - 1
    return [
        sample
        for at, sample in enumerate(samples)
        if at in (0, last) or not samples[at - 1][1] == sample[1] == samples[at + 1][1]
    ]


def split_evenly(items: Sequence[_Item], count: int) -> list[Sequence[_Item]]:
    """So many parts of almost equal length, in order; some are empty if there are fewer items."""
    edges = [at * len(items) // count for at in range(count + 1)]
    return [items[a:b] for a, b in pairwise(edges)]
