"""The results of a search for the highest rate and of a sweep: curves of what was measured at each rate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class MeasuredPoint:
    """What was measured at one rate, or with so many requests at a time.

    Attributes:
        rate: of the requests that were sent, per second; None for a closed loop.
        concurrency: requests at a time in a closed loop; None for an open loop.
        requests: how many were judged.
        failed: how many of these failed.
        seconds: the time that they were judged over.
        values: by the name of a metric as it is limited, ``latency.ttft_p95``, in its base unit; what is not known is
            left out.
        bounds: the lower and the upper bound of some of these, None where there is none.
        in_flight: how many requests were with the engine at a time, the mean over these seconds.
        drain_s: from the last request that was sent until the last answer had come, in seconds.
        left_out: why a search did not use it; empty if it did.
    """

    rate: float | None
    concurrency: int | None
    requests: int
    failed: int
    seconds: float
    values: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    in_flight: float = 0.0
    drain_s: float = 0.0
    left_out: str = ""


@dataclass(frozen=True)
class CapacityResult:
    """The highest Poisson rate at which every latency limit of a test holds.

    Attributes:
        rate: in requests per second; 0 if they hold at no rate. None if it is not known; ``missing`` says why.
        low, high: between which it lies, each wrong with a probability of 1 % at most; None where it is not bounded.
        curve: what was measured at each rate, in the order of the rates.
        asked: the workload, in words.
        conditions: the limits, in words.
        limits: the same by name, ``latency.ttft_p95``, in their base unit.
        requests: how many were sent.
        seconds: how long the search took.
        noise: the standard deviation of the logarithm of the rate, as far as the search knows it; 0 for a bound.
        effective: how many independent requests the evidence is worth.
        ended: why the search ended.
        bounded: why the rate is a lower bound only; empty if it is not.
        fault: why nothing of it can be used; empty if it can.
        missing: why there is no rate; empty if there is one.
    """

    rate: float | None
    low: float | None = None
    high: float | None = None
    curve: tuple[MeasuredPoint, ...] = ()
    asked: str = ""
    conditions: tuple[str, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    requests: int = 0
    seconds: float = 0.0
    noise: float = 0.0
    effective: float = 0.0
    ended: str = ""
    bounded: str = ""
    fault: str = ""
    missing: str = ""


@dataclass(frozen=True)
class SweepResult:
    """What was measured at several rates or concurrencies, in the order in which they were asked for."""

    curve: tuple[MeasuredPoint, ...]
    asked: str = ""
