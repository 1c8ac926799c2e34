"""Bounds of a rate, from how it differed between units: slices of a load, rounds, or requests one after another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.confidence.samples import count_effective

if TYPE_CHECKING:
    from collections.abc import Sequence

ASSUMED_NOISE = 0.1
"""The standard deviation of one unit, as a share, that is taken for likely before anything has been measured."""

ASSUMED_WEIGHT = 4
"""How many measured units that assumption counts as beside one unit; beside n it counts as the n√n-th part of that."""

MOST_FREEDOM = 1e6
"""Degrees of freedom with which Student's t is as good as normal."""


def estimate_noise(
    counts: Sequence[float], spans: Sequence[float], strata: Sequence[int] | None = None
) -> tuple[float, float]:
    """The standard error of a rate, as a share of it, and the number of independent units that the units are worth.

    The rate is that of all units together, Σ counts ÷ Σ spans; its error is the ratio estimator's, made larger where
    neighbouring units are alike. A few units tell little of their noise, so that :data:`ASSUMED_NOISE` counts beside
    them: with a single one it is all there is, and with many it is nothing.

    Args:
        counts: what was counted in each unit, in order of time; their sum is above 0.
        spans: how long each took, in any unit of time.
        strata: to which load each unit belongs: loads differ in their rates by intention. None if there is only one.
    """
    units, rate = len(counts), math.fsum(counts) / math.fsum(spans)
    mean, weight = math.fsum(spans) / units, _weigh_assumption(units)
    strata = strata or [0] * units
    own = {one: _divide_sums(counts, spans, strata, one) for one in set(strata)}
    excess = [
        (count - own[stratum] * span) / (rate * mean)
        for count, span, stratum in zip(counts, spans, strata, strict=True)
    ]
    known = units - len(own) + weight
    pooled = (math.fsum(part * part for part in excess) + weight * ASSUMED_NOISE**2) / known
    effective = count_effective(excess)
    return math.sqrt(pooled / effective), effective


def count_freedom(effective: float) -> float:
    """The degrees of freedom with which the noise of so many independent units is known."""
    return effective - 1 + _weigh_assumption(effective)


def _weigh_assumption(units: float) -> float:
    return ASSUMED_WEIGHT / (units * math.sqrt(units))


def combine_noise(noise: float, freedom: float, known: float) -> tuple[float, float]:
    """The standard deviation of a sum of two errors, and the degrees of freedom with which it is known.

    That of the first was estimated with so many degrees of freedom, that of the second is known exactly: the sum has
    more freedom by the square of the share that the first has in the variance (Welch 1947, Satterthwaite 1946).
    """
    total = noise**2 + known**2
    gained = (total / noise**2) ** 2 if noise**2 > 0 else math.inf
    return math.sqrt(total), min(freedom * gained, max(freedom, MOST_FREEDOM))


def _divide_sums(counts: Sequence[float], spans: Sequence[float], strata: Sequence[int], stratum: int) -> float:
    chosen = [at for at, one in enumerate(strata) if one == stratum]
    return math.fsum(counts[at] for at in chosen) / math.fsum(spans[at] for at in chosen)
