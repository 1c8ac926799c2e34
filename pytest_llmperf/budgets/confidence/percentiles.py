"""Bounds of a percentile: from order statistics, which assume nothing, and where these say nothing from the spread."""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.confidence.distributions import incomplete_beta, t_quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@cache
def find_ranks(count: int, share: float, effective: float, error: float) -> tuple[int | None, int | None]:
    """The ranks, from 1 to ``count``, of the values between which a percentile lies; None where values are too few.

    The value of the first rank lies above the percentile with a probability of at most ``error``, that of the second
    below it likewise. With independent values the second is the early-stopping estimate of MLPerf inference.

    Args:
        count: the number of values.
        share: the share of values below the percentile: 0.95 for p95.
        effective: the number of independent values that they are worth, at most ``count``.
        error: the probability of being wrong on each side.
    """
    scale = effective / count

    def lies_above(rank: int) -> float:
        # P(Binomial(effective, share) < rank), continued to a number that is not whole
        return incomplete_beta(effective - rank * scale + 1, rank * scale, 1 - share)

    def lies_below(rank: int) -> float:
        # P(Binomial(effective, share) >= rank)
        return incomplete_beta(rank * scale, effective - rank * scale + 1, share)

    first = math.ceil(1 / scale)
    above = _find_first(lambda rank: lies_above(rank) > error, first, count) if first <= count else first
    below = _find_first(lambda rank: lies_below(rank) <= error, 1, count)
    return above - 1 if above > first else None, below if below <= count else None


def bound_by_spread(values: Iterable[float], share: float, effective: float, error: float) -> tuple[float, float]:
    """Bounds of a percentile of lognormal values, for where values are too few for :func:`find_ranks`.

    A handful of values alike in time, all a hundred times below a limit, tell that it is kept. The bounds are those of
    a normal tolerance interval in its large-sample form, and never inside the values that were seen. Values that are
    not all positive are taken to be normal.

    Args:
        values: at least two; gone through once.
        share, effective, error: as for :func:`find_ranks`; fewer than two effective values count as two.
    """
    plain, logarithmic, least, most = _Moments(), _Moments(), math.inf, -math.inf
    for value in values:
        plain.add(value)
        if value > 0:
            logarithmic.add(math.log(value))
        least, most = min(least, value), max(most, value)
    scaled = logarithmic if least > 0 else plain
    number = max(2.0, effective)
    normal = NormalDist().inv_cdf(share)
    reach = t_quantile(1 - error, number - 1) * math.sqrt(1 / number + normal**2 / (2 * (number - 1)))
    low, high = (scaled.mean + scaled.deviation * (normal + side * reach) for side in (-1, 1))
    if least > 0:
        low, high = math.exp(low), math.exp(min(high, 700.0))
    return min(low, least), max(high, most)


class _Moments:
    """Mean and standard deviation of values that are not kept (Welford 1962)."""

    def __init__(self) -> None:
        self.count, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, value: float) -> None:
        self.count += 1
        off = value - self.mean
        self.mean += off / self.count
        self._squares += off * (value - self.mean)

    @property
    def deviation(self) -> float:
        return math.sqrt(self._squares / (self.count - 1))


def bound_share(hits: float, count: float, error: float) -> tuple[float, float]:
    """Bounds of the true share of hits (Clopper and Pearson), each wrong with a probability of ``error``.

    ``hits`` and ``count``, which is above 0, need not be whole.
    """

    def solve(target: Callable[[float], float], *, rises: bool) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            if (target(middle) > error) == rises:
                high = middle
            else:
                low = middle
        return (low + high) / 2

    misses = count - hits
    least = solve(lambda share: incomplete_beta(hits, misses + 1, share), rises=True) if hits > 0 else 0.0
    most = solve(lambda share: incomplete_beta(misses, hits + 1, 1 - share), rises=False) if misses > 0 else 1.0
    return least, most


def _find_first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The smallest rank from ``low`` on at which a condition that stays true holds; ``high`` + 1 if it never does."""
    while low <= high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle - 1
        else:
            low = middle + 1
    return low


def count_for_verdict(share: float, above: float, error: float, most: int = 1_000_000) -> int | None:
    """The number of independent values that would tell a percentile from its limit; None if ``most`` would not.

    Args:
        share: the share of values that must not exceed the limit: 0.95 for p95.
        above: the share of values that exceeded it.
        error: the probability of being wrong on each side.
        most: where the search ends.
    """

    def is_decided(count: int) -> bool:
        exceeding = min(above, 1.0) * count
        inside = count - exceeding
        tail = incomplete_beta(exceeding, inside + 1, 1 - share) if exceeding > 0 else 1.0
        under = incomplete_beta(inside, exceeding + 1, share) if inside > 0 else 1.0
        return min(tail, under) <= error

    needed = _find_first(is_decided, 1, most)
    return needed if needed <= most else None
