"""The knee of a limit: the rate at which the share of values above it is just what its percentile allows.

The logarithm of the odds of a value above the limit is taken to rise in a straight line with the logarithm of the rate,
near the knee. Knee and slope are found on a grid, by their likelihood: a point counts by the independent values that it
is worth, and the less the further it lies from the knee, where the line is bent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SLOPES = tuple(1.5 * 1.45**power for power in range(11))
_LIKELY_SLOPE, _SLOPE_SPREAD = 9.0, 0.7
_COARSE, _FINE = 60, 80
_REACH = math.log(16.0)
_BEND = 0.15
"""How far the line may be off, as a share of what it rises from the knee to a point."""
_NEAR = 0.15
"""How far apart the logarithms of two rates are at which values are about equally alike."""
_ROUNDS = 3
_TAIL = 1e-4


@dataclass(frozen=True)
class ShareAtRate:
    """What was seen of one limit at one rate.

    Attributes:
        rate: requests per second.
        above: the share of values above the limit.
        count: the number of values.
        effective: the number of independent values that all are worth, by themselves.
    """

    rate: float
    above: float
    count: float
    effective: float


@dataclass(frozen=True)
class Knee:
    """Where the knee is: a distribution over rates, as cumulated weights of ascending logarithms of the rate."""

    places: Sequence[float]
    upto: Sequence[float]
    slope: float

    def find_quantile(self, share: float) -> float:
        """The rate that the knee stays below with this probability."""
        before_place, before = self.places[0], 0.0
        for place, upto in zip(self.places, self.upto, strict=True):
            if upto >= share:
                part = (share - before) / (upto - before) if upto > before else 1.0
                return math.exp(before_place + part * (place - before_place))
            before_place, before = place, upto
        return math.exp(self.places[-1])

    @property
    def median(self) -> float:
        """The rate that the knee is as likely below as above."""
        return self.find_quantile(0.5)


def find_knee(points: Sequence[ShareAtRate], allowed: float) -> Knee:
    """Where the knee is, from points of which there is at least one.

    Args:
        points: at any rates above 0, in any order.
        allowed: the share of values that may lie above the limit: 0.05 for p95.
    """
    low = math.log(min(point.rate for point in points)) - _REACH
    high = math.log(max(point.rate for point in points)) + _REACH
    found = _weigh(points, allowed, _spread(low, high, _COARSE), None)
    for _ in range(_ROUNDS):
        low, high = math.log(found.find_quantile(_TAIL)), math.log(found.find_quantile(1 - _TAIL))
        margin = max((high - low) / 10, 0.01)
        found = _weigh(points, allowed, _spread(low - margin, high + margin, _FINE), found)
    return found


def _spread(low: float, high: float, count: int) -> list[float]:
    return [low + (high - low) * at / (count - 1) for at in range(count)]


def _weigh(points: Sequence[ShareAtRate], allowed: float, places: Sequence[float], before: Knee | None) -> Knee:
    at_knee = math.log(allowed / (1 - allowed))
    seen = [(math.log(p.rate), p.above, _count(p, points, before)) for p in points]
    slopes = [(slope, -0.5 * (math.log(slope / _LIKELY_SLOPE) / _SLOPE_SPREAD) ** 2) for slope in _SLOPES]
    table = [
        [
            prior + sum(n * _log_likelihood(above, at_knee + slope * (x - place)) for x, above, n in seen)
            for slope, prior in slopes
        ]
        for place in places
    ]
    most = max(map(max, table))
    weights = [[math.exp(value - most) for value in row] for row in table]
    sums = [math.fsum(row) for row in weights]
    whole = math.fsum(sums)
    columns = [math.fsum(column) for column in zip(*weights, strict=True)]
    slope = math.exp(math.fsum(w * math.log(s) for w, (s, _) in zip(columns, slopes, strict=True)) / whole)
    return Knee(places, [upto / whole for upto in accumulate(sums)], slope)


def _count(point: ShareAtRate, points: Sequence[ShareAtRate], before: Knee | None) -> float:
    """The independent values that a point is worth, less for one far from the knee as it was known before.

    How much values are alike is taken from all points at about its rate. A point that had a crowd of slow requests by
    chance looks as if it was worth little by itself, and one that had none looks as if it was worth much: weighed so,
    the knee would lie too high.
    """
    near = [math.exp(-0.5 * (math.log(p.rate / point.rate) / _NEAR) ** 2) * p.count for p in points]
    alike = math.fsum(w * p.count / p.effective for w, p in zip(near, points, strict=True)) / math.fsum(near)
    effective = max(1.0, point.count / alike)
    if before is None:
        return effective
    bend = _BEND * before.slope * (math.log(point.rate) - math.log(before.median))
    above = (point.above * effective + 0.5) / (effective + 1)
    return effective / (1 + effective * above * (1 - above) * bend**2)


def _log_likelihood(above: float, log_odds: float) -> float:
    """Of one value that is above its limit with these odds, and was so in a share of all cases."""
    log_below = -(math.log1p(math.exp(log_odds)) if log_odds < 30 else log_odds)
    return above * (log_odds + log_below) + (1 - above) * log_below
