"""How much sessions differ from one another, from the values that earlier runs have measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.confidence.distributions import t_at_most, t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

_VALUES_PER_OUTLIER = 8
_SHARES = (0.8, 0.2)
_KNOWN = 1e9
"""The degrees of freedom of a noise that is stated."""

MEDIAN_VARIANCE = math.pi / 2
"""The variance of a median of n values is at most this ÷ n of theirs, if they are normal."""


@dataclass(frozen=True)
class Estimate:
    """A standard deviation of the logarithm of one run's value, with so many degrees of freedom.

    ``share`` is the share of the error that bounds by this estimate have.
    """

    deviation: float
    freedom: float
    share: float = 1.0

    def reach(self, error: float) -> float:
        """How far a value lies from the centre with a probability of ``error`` on one side."""
        return self.deviation * t_quantile(1 - error * self.share, self.freedom)


@dataclass(frozen=True)
class SessionNoise:
    """What sessions differ by, with the noise within each, on the scale of logarithms.

    Of several estimates the one with the tighter bound counts, and each has its share of the error: the plain standard
    deviation is tighter if no run is odd, the robust one if one is.
    """

    estimates: tuple[Estimate, ...]
    is_stated: bool = False

    @staticmethod
    def of_runs(values: Sequence[float]) -> SessionNoise:
        """The noise that the values of at least five runs show, all above 0."""
        odd = max(1, len(values) // _VALUES_PER_OUTLIER)
        found = [estimate_session_noise(values, replaced) for replaced in (0, odd)]
        return SessionNoise(tuple(Estimate(*one, share) for one, share in zip(found, _SHARES, strict=True)))

    @staticmethod
    def of_known(deviation: float, *, is_stated: bool = False) -> SessionNoise:
        """A noise of which nothing is estimated."""
        return SessionNoise((Estimate(deviation, _KNOWN),), is_stated)

    def find_tightest(self, error: float) -> Estimate:
        """The estimate with the tighter bound."""
        return min(self.estimates, key=lambda one: one.reach(error))

    def reach(self, error: float) -> float:
        """How far a value lies from the centre with a probability of ``error`` on one side."""
        return self.find_tightest(error).reach(error)

    def find_p(self, distance: float) -> float:
        """The error at which the bound would lie at this distance from the centre, 0 to 1."""
        found = (
            t_at_most(-distance / one.deviation, one.freedom) / one.share if one.deviation else float(distance <= 0)
            for one in self.estimates
        )
        return min(1.0, *found)


def estimate_session_noise(values: Sequence[float], replaced: int = 0) -> tuple[float, float]:
    """The standard deviation of the logarithm of values, one of each run, and its degrees of freedom.

    It holds what sessions differ by and the noise within each. So many of the largest and of the smallest values are
    ``replaced`` by their neighbours (the winsorized variance of Yuen 1974), which costs degrees of freedom.

    Args:
        values: all above 0, at least two more than twice ``replaced``.
    """
    logs = sorted(math.log(value) for value in values)
    count = len(logs)
    kept = logs[replaced : count - replaced]
    winsorized = [kept[0]] * replaced + kept + [kept[-1]] * replaced
    mean = math.fsum(winsorized) / count
    freedom = count - 2 * replaced - 1
    variance = math.fsum((value - mean) ** 2 for value in winsorized) / (count - 1)
    return math.sqrt(variance) * (count - 1) / freedom, float(freedom)


def find_center(values: Sequence[float]) -> float:
    """What the last runs measured: the median, which a few odd ones do not move."""
    return float(median(values))
