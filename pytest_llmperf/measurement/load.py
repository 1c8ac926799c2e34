"""A load beside its requests: what was asked, which part is judged, and how the client kept up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.request import RequestTiming, Way
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
        """The spread of these numbers; None without any."""
        return Spread(min(values), sum(values) / len(values), max(values), len(values)) if values else None


@dataclass(frozen=True)
class Lag:
    """Percentiles of a delay, in seconds; ``most`` is the largest."""

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
        """Name and seconds of the smallest of these percentiles not below ``percent``; the largest lag for None."""
        known = (("p50", 50.0, self.p50), ("p90", 90.0, self.p90), ("p99", 99.0, self.p99))
        fitting = ((name, value) for name, at, value in known if percent is not None and percent <= at)
        return next(fitting, ("max", self.most))


def group_lags(requests: Sequence[RequestTiming]) -> dict[Way, Lag]:
    """By the way that requests were sent, the seconds by which the latency of each may be too long."""
    groups: dict[Way, list[float]] = {}
    for request in requests:
        if request.lag is not None:
            groups.setdefault(request.lag.way, []).append(request.lag.seconds)
    return {way: lag for way, late in groups.items() if (lag := Lag.of(late)) is not None}


@dataclass(frozen=True)
class ClientHealth:
    """What the process that sent the requests says of itself.

    Attributes:
        event_loop: ``asyncio`` or ``uvloop``.
        loop_lag: how late the event loop ran what was due.
        cpu_share: the share of one core that the process used.
        schedule_lag: how long after its scheduled moment a request was sent; None if nothing was scheduled.
        connections: how many it has opened.
    """

    event_loop: str
    loop_lag: Lag
    cpu_share: float
    schedule_lag: Lag | None = None
    connections: int = 0


@dataclass(frozen=True)
class Load:
    """One run of a workload.

    Attributes:
        asked: what was to be sent and when, in words.
        steady: the part that is judged; None if there was none. Of a load that grew it has the pauses between its
            stretches in it.
        health: how the sending process kept up; None if pytest sent the load itself, or the process could not tell.
        fault: why its numbers cannot be trusted; empty if they can.
        stopped: why it ended early; empty if it did not.
        max_error_rate: the share of failed requests that the test tolerates.
        prompt_asked, prompt_came, output_asked, output_came: tokens of all its requests; None if not known.
        full_answers: how many answers were as long as asked.
        stretches: the steady part of each stretch of a load that grew; empty for one that did not.
        plan: what was to be sent and when as plain data, but for how many: equal in every run of the same load.
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
    stretches: tuple[Window, ...] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spans(self) -> tuple[Window, ...]:
        """The time that is judged, without pauses."""
        return self.stretches or (() if self.steady is None else (self.steady,))
