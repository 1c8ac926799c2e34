"""What several sessions of one build measured of one metric, and the noise that they show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.confidence.distributions import t_quantile
from pytest_llmperf.budgets.confidence.spread import bound_deviation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.budgets.interval import Better, Interval

FEWEST_SESSIONS = 3
"""With fewer sessions nothing is said of the noise between them."""

LEAST_NOISE = 0.002
"""The standard deviation between sessions, as a share, that is taken for granted: memory differs by this much."""

LEAST_BYTES = 2.0**20
"""The same for a metric that may be zero or below, of which no share is known: 1 MiB, where it is in bytes."""

BOUND_ERROR = 0.05


@dataclass(frozen=True)
class SessionValue:
    """What one session measured.

    Attributes:
        value: in the base unit of the metric.
        interval: as a verdict is given by it; None for a value that is exact.
        noise: the standard error of the value from what the session knows of itself, on the scale of logarithms.
    """

    value: float
    interval: Interval | None = None
    noise: float = 0.0


class SessionSeries:
    """The values of several sessions, of which there are two at least, and their noise.

    The noise is that of the logarithm of the value. A metric that has been zero or negative is taken as it is: then
    every noise and every distance is in its base unit.
    """

    def __init__(self, sessions: Sequence[SessionValue], better: Better, unit: str = "") -> None:
        self.sessions = tuple(sessions)
        self.better: Better = better
        self.unit = unit
        self.is_relative = all(session.value > 0 for session in sessions)

    @property
    def median(self) -> float:
        """Of the measured values, in the base unit of the metric."""
        return median(session.value for session in self.sessions)

    @property
    def freedom(self) -> int:
        """The degrees of freedom with which the noise of all is known."""
        return len(self.sessions) - 1

    @cached_property
    def middle(self) -> float:
        """The mean of the values on the scale of :meth:`place`."""
        return fmean(self.place(session.value) for session in self.sessions)

    def place(self, value: float) -> float:
        """Where a value lies on the scale of noise, larger for a worse one; infinite for a share that cannot be."""
        sign = 1 if self.better == "lower" else -1
        if not self.is_relative:
            return sign * value
        return sign * (math.log(value) if value > 0 else -math.inf)

    def find_value(self, place: float) -> float:
        """The value that lies at a place."""
        placed = place if self.better == "lower" else -place
        return math.exp(placed) if self.is_relative else placed

    # ------------------------------------------------------------------------------------------------------- noise

    @cached_property
    def total_noise(self) -> float:
        """The standard deviation from session to session."""
        return stdev(self.place(session.value) for session in self.sessions)

    @cached_property
    def noise_within(self) -> float:
        """What a session knows of itself: the typical standard error of its value."""
        return math.sqrt(fmean(session.noise**2 for session in self.sessions)) if self.is_relative else 0.0

    @cached_property
    def noise_between(self) -> float:
        """The standard deviation between sessions that the noise within them does not explain."""
        return self._take_off_within(self.total_noise)

    @cached_property
    def noise_between_bounds(self) -> tuple[float, float]:
        """Between which the noise between sessions lies, wrong with 5 % on each side."""
        low, high = bound_deviation(self.total_noise, self.freedom, BOUND_ERROR)
        return self._take_off_within(low), self._take_off_within(high)

    def _take_off_within(self, total: float) -> float:
        return math.sqrt(max(0.0, total**2 - self.noise_within**2))

    @cached_property
    def spread(self) -> float:
        """The standard deviation of the next session's value around the mean of these, for Student's t.

        The few sessions may have come out alike by chance: it is never below what each knows of itself, nor below what
        even a metric without noise differs by.
        """
        least = LEAST_NOISE if self.is_relative else LEAST_BYTES if self.unit == "B" else 0.0
        noise = max(self.total_noise, self.noise_within, least)
        return noise * math.sqrt(1 + 1 / len(self.sessions))

    def quantile(self, probability: float) -> float:
        """How far above the mean the next session lies at most with this probability."""
        return self.spread * t_quantile(probability, self.freedom)

    # ----------------------------------------------------------------------------------------------------- reaches

    @cached_property
    def reach_of_fail(self) -> float:
        """How far a value must typically lie beyond its limit before it is a FAIL; infinite if it never is."""
        return self._find_reach(self.better == "higher")

    @cached_property
    def reach_of_pass(self) -> float:
        """How far a value must typically lie inside its limit before it is a PASS; infinite if it never is."""
        return self._find_reach(self.better == "lower")

    def _find_reach(self, upper: bool) -> float:
        return median(self._measure_reach(session, upper) for session in self.sessions)

    def _measure_reach(self, session: SessionValue, upper: bool) -> float:
        if session.interval is None:
            return 0.0
        bound = session.interval.high if upper else session.interval.low
        if bound is None:
            return math.inf
        return abs(self.place(bound) - self.place(session.value))
