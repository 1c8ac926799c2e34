"""How well a standard deviation is known that was estimated from few values."""

from __future__ import annotations

import math
from functools import cache

_MOST_TERMS = 100_000


def bound_deviation(deviation: float, freedom: float, error: float) -> tuple[float, float]:
    """Between which the true standard deviation of normal values lies, with this error on each side.

    Args:
        deviation: the one that was estimated.
        freedom: with how many degrees of freedom, above 0.
        error: the probability of being wrong on each side, between 0 and one half.
    """
    low, high = (deviation * math.sqrt(freedom / chi_square_quantile(p, freedom)) for p in (1 - error, error))
    return low, high


@cache
def chi_square_quantile(probability: float, freedom: float) -> float:
    """The value that a chi-square variable stays below with this probability, between 0 and 1."""
    low, high = 0.0, max(1.0, freedom)
    while incomplete_gamma(freedom / 2, high / 2) < probability:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        if incomplete_gamma(freedom / 2, middle / 2) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def incomplete_gamma(a: float, x: float) -> float:
    """The regularized lower incomplete gamma function P(a, x), for a > 0 and x >= 0: a value between 0 and 1.

    Below a + 1 as the series DLMF 8.11.4, from there on as one less the continued fraction DLMF 8.9.2.
    """
    if x <= 0:
        return 0.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, _MOST_TERMS):
            term *= x / (a + n)
            total += term
            if term < total * 1e-16:
                break
        return scale * total
    b = x + 1 - a
    d = 1 / b
    c, fraction = math.inf, d
    for n in range(1, _MOST_TERMS):
        coefficient = -n * (n - a)
        b += 2
        d = 1 / (coefficient * d + b)
        c = b + coefficient / c
        fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return 1 - scale * fraction
