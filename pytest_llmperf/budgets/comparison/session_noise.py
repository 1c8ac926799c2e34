"""How much sessions differ from one another, from the values that earlier runs have measured."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_VALUES_PER_OUTLIER = 8
MEDIAN_VARIANCE = math.pi / 2
"""The variance of a median of n values is at most this ÷ n of theirs, if they are normal."""


def estimate_session_noise(values: Sequence[float]) -> tuple[float, float]:
    """The standard deviation of the logarithm of values, one of each run, and its degrees of freedom.

    It holds what sessions differ by and the noise within each. One value in eight may be an outlier on either side:
    these are replaced by their neighbours (the winsorized variance of Yuen 1974), which costs degrees of freedom.

    Args:
        values: at least two, all above 0.
    """
    logs = sorted(math.log(value) for value in values)
    count = len(logs)
    replaced = count // _VALUES_PER_OUTLIER
    kept = logs[replaced : count - replaced]
    winsorized = [kept[0]] * replaced + kept + [kept[-1]] * replaced
    mean = math.fsum(winsorized) / count
    freedom = count - 2 * replaced - 1
    variance = math.fsum((value - mean) ** 2 for value in winsorized) / (count - 1)
    return math.sqrt(variance) * (count - 1) / freedom, float(freedom)


def find_center(values: Sequence[float]) -> float:
    """What the last runs measured: the median, which a few odd ones do not move."""
    return float(median(values))
