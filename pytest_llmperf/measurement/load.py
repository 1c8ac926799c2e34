"""What is known of a load beside its requests: what was asked and what came, what is judged, how the client fared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.window import Window


@dataclass(frozen=True)
class Spread:
    """Smallest, mean and largest of so many numbers."""

    least: float
    mean: float
    most: float
    count: int

    @staticmethod
    def of(values: Sequence[float]) -> Spread | None:
        return Spread(min(values), sum(values) / len(values), max(values), len(values)) if values else None


@dataclass(frozen=True)
class Lag:
    """How late something happened, in seconds."""

    p50: float
    p90: float
    p99: float
    most: float

    @staticmethod
    def of(values: Sequence[float]) -> Lag | None:
        """Percentiles by nearest rank; None without values."""
        ordered = sorted(values)
        if not ordered:
            return None
        p50, p90, p99 = (ordered[max(0, math.ceil(share * len(ordered)) - 1)] for share in (0.5, 0.9, 0.99))
        return Lag(p50, p90, p99, ordered[-1])

    def at(self, percent: float | None) -> tuple[str, float]:
        """The smallest of these percentiles that is not below ``percent``, by its name; None is the largest lag."""
        known = (("p50", 50.0, self.p50), ("p90", 90.0, self.p90), ("p99", 99.0, self.p99))
        fitting = ((name, value) for name, at, value in known if percent is not None and percent <= at)
        return next(fitting, ("max", self.most))


@dataclass(frozen=True)
class ClientHealth:
    """What the process that sent the requests says of itself.

    ``schedule_lag`` is how long after its scheduled moment a request was sent, None where nothing was scheduled.
    ``loop_lag`` is how late its event loop came to what was due, ``cpu_share`` the part of one core it took.
    """

    event_loop: str
    loop_lag: Lag
    cpu_share: float
    schedule_lag: Lag | None = None
    connections: int = 0


@dataclass(frozen=True)
class Load:
    """One run of a workload.

    ``asked`` says what was to be sent and when. ``steady`` is the part that is judged, None when there was none;
    ``fault`` is why its numbers cannot be trusted, empty when they can. ``stopped`` is why it ended before its end.
    ``max_error_rate`` is the share of failed requests that the test tolerates. The spreads are of the tokens of all its
    requests, and ``full_answers`` counts those as long as asked.
    """

    asked: str
    steady: Window | None
    health: ClientHealth | None = None
    fault: str = ""
    stopped: str = ""
    max_error_rate: float = 0.0
    prompt_asked: Spread | None = None
    prompt_came: Spread | None = None
    output_asked: Spread | None = None
    output_came: Spread | None = None
    full_answers: int = 0
