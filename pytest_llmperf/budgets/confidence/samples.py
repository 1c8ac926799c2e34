"""How many independent values correlated ones are worth."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_POINTS = 4096


def count_effective_in_time(values: Sequence[float], strata: Sequence[int] | None = None) -> float:
    """The number of independent values that values in their order of time are worth: 1 to their number.

    Values of different ``strata``, such as engines, differ by intention; None if there is only one.

    A drift or a slow swing makes neighbours alike, and so many of them say no more than a few. The autocorrelations of
    the values' ranks are summed as long as those of two neighbouring lags have a positive sum that does not grow (the
    initial monotone sequence of Geyer 1992, on ranks as in Vehtari et al. 2021).
    """
    count = len(values)
    if count < 4:
        return float(count)
    ranks = _rank(values)
    if strata is not None:
        ranks = _centre(ranks, strata)
    return count_effective(ranks)


def count_effective(values: Sequence[float]) -> float:
    """As :func:`count_effective_in_time`, by the values themselves instead of their ranks."""
    count = len(values)
    points = _average(values, max(1, math.ceil(count / _MOST_POINTS)))
    whole, between = _variance(values), _variance(points)
    if whole == 0 or between == 0:
        return float(count)
    return max(1.0, min(float(count), whole * len(points) / (between * measure_correlation(points))))


def measure_correlation(values: Sequence[float]) -> float:
    """The integrated autocorrelation time: how many values in a row count as one, at least 1; 1 of fewer than four."""
    count = len(values)
    if count < 4:
        return 1.0
    mean = math.fsum(values) / count
    centred = [value - mean for value in values]
    whole = math.fsum(value * value for value in centred)
    if whole == 0:
        return 1.0

    def correlate(lag: int) -> float:
        return math.fsum(a * b for a, b in zip(centred, centred[lag:], strict=False)) / whole

    total, last = 0.0, math.inf
    for lag in range(0, count - 1, 2):
        pair = min(last, correlate(lag) + correlate(lag + 1))
        if pair <= 0:
            break
        total, last = total + pair, pair
    return max(1.0, 2 * total - 1)


def count_effective_in_groups(hits: Sequence[float], sizes: Sequence[float]) -> float:
    """The number of independent values that the values of several groups are worth, to estimate a share of them.

    The variance of a share between groups (the ratio estimator of survey sampling) is compared with that of as many
    independent values: Kish's design effect. Where all values are hits, or none is, nothing is known of that variance,
    and each group counts as one value.

    Args:
        hits: of each group, the number of values that are counted.
        sizes: of each group, the number of its values; their sum is the largest result.
    """
    groups, values = len(sizes), math.fsum(sizes)
    share = math.fsum(hits) / values if values else 0.0
    if groups < 2 or not 0 < share < 1:
        return float(groups)
    spread = math.fsum((hit - share * size) ** 2 for hit, size in zip(hits, sizes, strict=True))
    variance = spread * groups / (groups - 1) / values**2
    return min(values, share * (1 - share) / variance) if variance > 0 else values


def _rank(values: Sequence[float]) -> list[float]:
    """The rank of each value; equal ones share the mean of theirs."""
    ordered = sorted(values)
    return [(bisect_left(ordered, value) + bisect_right(ordered, value) + 1) / 2 for value in values]


def _centre(values: Sequence[float], strata: Sequence[int]) -> list[float]:
    """Each value less the mean of its stratum."""
    members: dict[int, list[float]] = {}
    for value, stratum in zip(values, strata, strict=True):
        members.setdefault(stratum, []).append(value)
    means = {stratum: math.fsum(found) / len(found) for stratum, found in members.items()}
    return [value - means[stratum] for value, stratum in zip(values, strata, strict=True)]


def _average(values: Sequence[float], size: int) -> list[float]:
    """The means of so many neighbours each; a last part that is shorter is left out."""
    return [math.fsum(values[at : at + size]) / size for at in range(0, len(values) - size + 1, size)]


def _variance(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
