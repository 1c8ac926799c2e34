"""Bounds of a rate, from how it differed between units: slices of a load, rounds, or requests one after another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.confidence.distributions import t_quantile
from pytest_llmperf.budgets.confidence.samples import measure_correlation

if TYPE_CHECKING:
    from collections.abc import Sequence

ASSUMED_NOISE = 0.1
"""The standard deviation of one unit, as a share, that is taken for likely before anything has been measured."""

ASSUMED_WEIGHT = 4
"""How many measured units that assumption counts as beside one unit; beside n it counts as an n-th of that."""


def estimate_noise(counts: Sequence[float], spans: Sequence[float]) -> tuple[float, float]:
    """The standard error of a rate, as a share of it, and the degrees of freedom with which it is known.

    The rate is that of all units together, Σ counts ÷ Σ spans; its error is the ratio estimator's, made larger where
    neighbouring units are alike. A few units tell little of their noise, so that :data:`ASSUMED_NOISE` counts beside
    them: with a single one it is all there is, and with many it is nothing.

    Args:
        counts: what was counted in each unit, in order of time; their sum is above 0.
        spans: how long each took, in any unit of time.
    """
    units, rate = len(counts), math.fsum(counts) / math.fsum(spans)
    mean = math.fsum(spans) / units
    excess = [(count - rate * span) / (rate * mean) for count, span in zip(counts, spans, strict=True)]
    weight = ASSUMED_WEIGHT / units
    pooled = (math.fsum(part * part for part in excess) + weight * ASSUMED_NOISE**2) / (units - 1 + weight)
    effective = max(1.0, units / measure_correlation(excess))
    return math.sqrt(pooled / effective), effective - 1 + ASSUMED_WEIGHT / effective


def bound_rate(rate: float, noise: float, freedom: float, error: float) -> tuple[float, float]:
    """The smallest and the largest rate that the estimate allows for, each wrong with a probability of ``error``.

    The logarithm of the rate is taken to be distributed as Student's t around its estimate.
    """
    factor = math.exp(t_quantile(1 - error, freedom) * noise)
    return rate / factor, rate * factor
