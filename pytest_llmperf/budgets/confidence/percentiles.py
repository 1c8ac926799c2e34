"""Bounds of a percentile from order statistics: nothing is assumed of how the values are distributed."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.confidence.distributions import incomplete_beta

if TYPE_CHECKING:
    from collections.abc import Callable


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
        exceeding = above * count
        tail = incomplete_beta(exceeding, count - exceeding + 1, 1 - share) if exceeding > 0 else 1.0
        under = incomplete_beta(count - exceeding, exceeding + 1, share)
        return min(tail, under) <= error

    needed = _find_first(is_decided, 1, most)
    return needed if needed <= most else None
