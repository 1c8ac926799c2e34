"""How much a metric differs between two engines, from pairs of values: the same work on both, one after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.confidence.distributions import t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

FEWEST_PAIRS = 3
MOST_PAIRS = 24
LOOKS = (3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 21, MOST_PAIRS)
"""The numbers of pairs after which a metric is judged."""

FAIL_ERROR_AT_LAST_LOOK = 0.005
"""The error of a FAIL at the last look; at one at n pairs it is (n / 24) ** 0.75 of that.

Over all looks a build that is exactly at its limit fails in 1 to 2 % of tests where rounds differ by up to 5 %, and
one that takes 20 % longer, ten more than allowed, in 99 %: ``benchmarks/ab.py``.
"""

PASS_ERROR_AT_LAST_LOOK = 3.5 * FAIL_ERROR_AT_LAST_LOOK
"""The same of a PASS: about 5 % over all looks, as for a budget of which the noise between sessions is known."""

ASSUMED_NOISE = 0.05
"""The standard deviation of a pair, as a share, that is taken for likely before anything has been measured."""

ASSUMED_WEIGHT = 3
"""How many degrees of freedom that assumption counts as."""

FREEDOM_OF_A_PAIR = 1.5
"""The degrees of freedom that each pair but one gives: its ratio, and its two rounds beside those before them."""

TRIMMED_SHARE = 0.1
"""The share of the pairs that is left out on each side, rounded down, as a stranger on the host slows single rounds."""


@dataclass(frozen=True)
class Change:
    """How the values of the new engine differ from those of the old one.

    Attributes:
        new, old: the averages of the values that count, in the base unit of the metric.
        share: the change, ``new / old - 1``.
        low, high: the true change lies below ``low`` or above ``high`` with the errors that were asked for.
        pairs: how many pairs it is from, those that were trimmed included.
    """

    new: float
    old: float
    share: float
    low: float
    high: float
    pairs: int


def estimate_change(
    pairs: Sequence[tuple[float, float]], low_error: float, high_error: float, *, exact: bool = False
) -> Change:
    """The change of a metric from at least two pairs of values (new, old); both are above 0, or equal.

    It is the trimmed mean of the logarithms of the ratios, and its error that of Yuen (1974) from the winsorized
    variance. A few pairs tell little of their noise. So the noise of each engine from round to round counts beside that
    of the ratios, which a drift of the host leaves alone as well, and so does :data:`ASSUMED_NOISE`; neither does for
    an ``exact`` metric, which has no noise of its own. The pairs are in the order of time.

    Raises:
        ValueError: there are fewer than two pairs, or one of different values of which one is not above 0.
    """
    count = len(pairs)
    if count < 2:
        raise ValueError(f"a change needs at least two pairs, not {count}")
    ordered = sorted(pairs, key=_compute_log_ratio)
    cut = int(TRIMMED_SHARE * count)
    kept = ordered[cut : count - cut]
    ratios = [_compute_log_ratio(pair) for pair in kept]
    winsorized = [ratios[0]] * cut + ratios + [ratios[-1]] * cut
    middle = fmean(winsorized)
    variance = math.fsum((ratio - middle) ** 2 for ratio in winsorized) / (count - 1)
    freedom = 1.0
    weight = 0 if exact else ASSUMED_WEIGHT
    if not exact and min(map(min, pairs)) > 0:
        sides = ([math.log(pair[side]) for pair in pairs] for side in (0, 1))
        variance = (variance + math.fsum(_measure_steps(side, cut) for side in sides)) / 2
        freedom = FREEDOM_OF_A_PAIR
    known = freedom * (count - 1)
    variance = (known * variance + weight * ASSUMED_NOISE**2) / (known + weight)
    error = math.sqrt(variance * (count - 1) / (len(kept) * (len(kept) - 1)))
    freedom, center = freedom * (len(kept) - 1) + weight, fmean(ratios)
    low, high = (error * t_quantile(1 - one, freedom) for one in (low_error, high_error))
    new, old = (average([pair[side] for pair in kept]) for side in (0, 1))
    return Change(new, old, math.expm1(center), math.expm1(center - low), math.expm1(center + high), count)


def _measure_steps(values: Sequence[float], cut: int) -> float:
    """The variance of values in the order of time, from the steps between them: those that drift have it hardly larger.

    The ``cut`` smallest and largest values count as the ones next to them.
    """
    ordered = sorted(values)
    least, most = ordered[cut], ordered[-1 - cut]
    kept = [min(max(value, least), most) for value in values]
    return fmean((after - before) ** 2 for before, after in pairwise(kept)) / 2


def average(values: Sequence[float]) -> float:
    """The geometric mean, which keeps ratios; the plain one if a value is not above 0."""
    if min(values) == max(values):
        return values[0]
    return math.exp(fmean(map(math.log, values))) if min(values) > 0 else fmean(values)


def _compute_log_ratio(pair: tuple[float, float]) -> float:
    new, old = pair
    return 0.0 if new == old else math.log(new / old)


def find_errors(pairs: int) -> tuple[float, float]:
    """The errors of a FAIL and of a PASS at a look at so many pairs."""
    share = min(1.0, pairs / MOST_PAIRS) ** 0.75
    return FAIL_ERROR_AT_LAST_LOOK * share, PASS_ERROR_AT_LAST_LOOK * share
