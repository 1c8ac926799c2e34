"""Change points: where the level of a series changes for good, found without knowing how many there are.

The statistic is a scan of means. In each of many intervals of the series, long and short ones, the values before a
point are compared with those after it, and the largest difference in units of its standard deviation counts. Values far
from the median are first cut to three standard deviations, so that one outlier decides nothing; short intervals find a
level that lasts for some runs only. How large the difference becomes without a change is learned from shuffled series.
Where a change is found the series is cut, and both parts are searched in the same way, as in E-divisive (Matteson and
James, 2014). The intervals are those of seeded binary segmentation (Kovács et al., 2023).

The test assumes that runs are independent of one another; docs/baselines.md says what happens where they are not.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from math import sqrt
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALLEST_SEGMENT = 3
"""A level has at least so many values; a change is found that many runs after it at the earliest."""
_SHORTEST_INTERVAL = 12
_SHUFFLES = 299
_CUT = 3.0
_DEVIATIONS_PER_MEDIAN = 1.4826 / sqrt(2)  # of a normal distribution, from the median of absolute differences
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class ChangePoint:
    """A change of level.

    Attributes:
        index: of the first value at the new level.
        before, after: the medians of the values from the last change to this one, and from here to the next.
        p: how often a series without a change has one that is as clear; at least 1 / 300.
    """

    index: int
    before: float
    after: float
    p: float

    @property
    def ratio(self) -> float:
        """The new level by the old one, minus 1; infinite for a change from zero."""
        return self.after / self.before - 1 if self.before else float("inf")


def find_change_points(values: Sequence[float], p: float = 0.01, seed: int = 0) -> list[ChangePoint]:
    """The changes of level in a series, in order; the same ones for the same series and seed.

    Args:
        values: in order of time, all finite.
        p: with which probability a series of independent values without a change may show one; at least 1 / 300.
        seed: of the shuffles.
    """
    shuffler = random.Random(seed)
    found: dict[int, float] = {}
    open_parts = [(0, len(values))]
    while open_parts:
        start, end = open_parts.pop()
        split, chance = _find_split(values[start:end], p, shuffler)
        if split:
            found[start + split] = chance
            open_parts += [(start, start + split), (start + split, end)]
    splits = sorted(found)
    return _describe(values, _settle(values, splits), [found[split] for split in splits]) if splits else []


def _find_split(values: Sequence[float], p: float, shuffler: random.Random) -> tuple[int, float]:
    """The clearest change, as an index, and its p-value; 0 if there is none at this level."""
    if len(values) < 2 * SMALLEST_SEGMENT or min(values) == max(values):
        return 0, 1.0
    scores = _score(values)
    intervals = _list_intervals(len(values))
    largest, split = _scan(scores, intervals)
    exceeded, allowed = 0, round(p * (_SHUFFLES + 1)) - 1
    for _ in range(_SHUFFLES):
        shuffler.shuffle(scores)
        exceeded += _scan(scores, intervals)[0] >= largest - _TOLERANCE
        if exceeded > allowed:
            return 0, 1.0
    return split, (exceeded + 1) / (_SHUFFLES + 1)


def _score(values: Sequence[float]) -> list[float]:
    """The values without their mean, cut to three standard deviations of the noise between neighbours.

    Where most neighbours are equal, so that no noise is seen, their ranks: equal values share one.
    """
    noise = median(abs(after - before) for before, after in pairwise(values)) * _DEVIATIONS_PER_MEDIAN
    if noise > 0:
        middle = median(values)
        scores = [max(-_CUT, min(_CUT, (value - middle) / noise)) for value in values]
    else:
        ordered = sorted(values)
        scores = [(bisect_left(ordered, value) + bisect_right(ordered, value)) / 2 for value in values]
    mean = sum(scores) / len(scores)
    return [score - mean for score in scores]


@lru_cache(maxsize=64)
def _list_intervals(length: int) -> tuple[tuple[int, int], ...]:
    """The whole series, and intervals of half, a quarter, … of its length, each half over its neighbour."""
    found = {(0, length): None}
    size = length
    while (size := (size + 1) // 2) >= _SHORTEST_INTERVAL:
        count = 2 * -(-length // size) - 1
        for place in range(count):
            start = (length - size) * place // max(1, count - 1)
            found[start, start + size] = None
    return tuple(found)


@lru_cache(maxsize=256)
def _list_weights(length: int) -> tuple[float, ...]:
    """For each split, 1 by the standard deviation of the sum of the values before it, for values of unit variance."""
    splits = range(SMALLEST_SEGMENT, length - SMALLEST_SEGMENT + 1)
    return tuple(sqrt(length / (split * (length - split))) for split in splits)


def _scan(scores: Sequence[float], intervals: Sequence[tuple[int, int]]) -> tuple[float, int]:
    """The largest weighted difference in any of the intervals, and where it is."""
    sums = [0.0, *accumulate(scores)]
    largest, split = -1.0, 0
    for start, end in intervals:
        value, place = _scan_interval(sums, start, end)
        if value > largest:
            largest, split = value, place
    return largest, split


def _scan_interval(sums: Sequence[float], start: int, end: int) -> tuple[float, int]:
    first = start + SMALLEST_SEGMENT
    base, slope = sums[start], (sums[end] - sums[start]) / (end - start)
    level = base + slope * SMALLEST_SEGMENT
    differences = [
        abs(total - level - slope * step) * weight
        for step, (total, weight) in enumerate(
            zip(sums[first : end - SMALLEST_SEGMENT + 1], _list_weights(end - start), strict=True)
        )
    ]
    largest = max(differences)
    return largest, first + differences.index(largest)


def _settle(values: Sequence[float], splits: Sequence[int]) -> list[int]:
    """Each change where it is clearest between its neighbours, which were not known when it was found."""
    settled = [0, *splits, len(values)]
    for place in range(1, len(settled) - 1):
        start, end = settled[place - 1], settled[place + 1]
        sums = [0.0, *accumulate(_score(values[start:end]))]
        settled[place] = start + _scan_interval(sums, 0, end - start)[1]
    return settled[1:-1]


def _describe(values: Sequence[float], splits: Sequence[int], chances: Sequence[float]) -> list[ChangePoint]:
    levels = [median(values[start:end]) for start, end in pairwise([0, *splits, len(values)])]
    return [
        ChangePoint(index, before, after, chance)
        for index, (before, after), chance in zip(splits, pairwise(levels), chances, strict=True)
    ]
