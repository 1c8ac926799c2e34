"""When requests are sent, when that ends, and which of them are judged: pure functions of what was asked and a seed."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.units import SECONDS, SHARE, format_value, parse
from pytest_llmperf.traffic.client.request import at_least_one

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_llmperf.traffic.workloads.workload import Workload

_RATE = re.compile(r"(\d+\.?\d*|\.\d+)\s*(?:req(?:uests)?)?\s*/\s*(s|min)")
Edge = int | float
"""The beginning or the end of a run that is not judged: so many requests (int), or seconds (float)."""


@dataclass(frozen=True)
class Schedule:
    """A closed loop of so many requests at a time (``concurrency``), or an open loop at a ``rate`` per second.

    With neither, the times are those of a trace. ``shape`` is that of the gamma distribution of the gaps: 1 is a
    Poisson process, more is steadier, None is a constant rate. ``ramp_s`` is how long rate or concurrency rise from 0.
    ``duration_s`` ends the sending, and so does a share of failed requests above ``max_error_rate``.
    """

    concurrency: int | None = None
    rate: float | None = None
    shape: float | None = 1.0
    ramp_s: float = 0.0
    warmup: Edge = 0
    cooldown: Edge = 0
    duration_s: float | None = None
    max_error_rate: float = 0.0

    @property
    def open(self) -> bool:
        return self.concurrency is None

    def arrivals(self, seed: int) -> Iterator[float]:
        """When an open loop sends, in seconds from its start, without end.

        In the ramp the rate rises linearly, so that the expected number of arrivals until t is rate·t²/(2·ramp) there,
        and rate·(t − ramp/2) after it: arrivals of a steady process of rate 1 are moved to where that is reached.
        """
        assert self.rate is not None
        half = self.rate * self.ramp_s / 2
        for arrived in _unit_process(self.shape, seed):
            if arrived < half:
                yield math.sqrt(2 * self.ramp_s * arrived / self.rate)
            else:
                yield arrived / self.rate + self.ramp_s / 2

    def begins(self) -> list[float]:
        """When each of the users of a closed loop sends the first request, in seconds from its start."""
        users = self.concurrency or 0
        return [self.ramp_s * number / users for number in range(users)]

    def judged(self, starts: Sequence[int], begun_ns: int) -> slice:
        """Which requests lie in the steady part: those after ramp and warm-up, and before the cool-down.

        ``starts`` are their moments in ns, in order.
        """
        if not starts:
            return slice(0, 0)
        first = bisect_left(starts, begun_ns + round(self.ramp_s * 1e9)) if self.ramp_s else 0
        if isinstance(self.warmup, int):
            first += self.warmup
        else:
            first = bisect_left(starts, begun_ns + round((self.ramp_s + self.warmup) * 1e9))
        if isinstance(self.cooldown, int):
            stop = len(starts) - self.cooldown
        else:
            stop = bisect_left(starts, starts[-1] - round(self.cooldown * 1e9))
        return slice(first, max(first, stop))

    def __str__(self) -> str:
        if self.concurrency is not None:
            parts = [f"closed loop, {self.concurrency} at a time"]
        elif self.rate is None:
            parts = ["open loop, at the times of the trace"]
        else:
            kind = {None: "constant", 1.0: "Poisson"}.get(self.shape, f"gamma (burstiness {self.shape})")
            parts = [f"open loop, {kind}, {self.rate:g} req/s"]
        parts += [f"ramp {_seconds(self.ramp_s)}"] if self.ramp_s else []
        parts += [f"warm-up {_edge(self.warmup)}"] if self.warmup else []
        parts += [f"cool-down {_edge(self.cooldown)}"] if self.cooldown else []
        parts += [f"for {_seconds(self.duration_s)}"] if self.duration_s is not None else []
        return ", ".join(parts)


def schedule(
    workload: Workload,
    *,
    concurrency: int | None = None,
    rate: str | None = None,
    arrival: str = "poisson",
    burstiness: float = 1.0,
    duration: str | None = None,
    ramp: str = "0 s",
    warmup: int | str = 0,
    cooldown: int | str = 0,
    max_error_rate: str = "0 %",
) -> Schedule:
    """The schedule that the arguments of ``llm_client.run`` ask for.

    Raises:
        ValueError: they contradict each other or the workload, or one cannot be understood; the message names it.
    """
    if concurrency is not None and rate is not None:
        raise ValueError("give rate (an open loop) or concurrency (a closed loop), not both")
    if workload.has_times and (concurrency is not None or rate is not None):
        raise ValueError("this workload has times of its own: leave out rate and concurrency, or its timestamps")
    if concurrency is None and rate is None and not workload.has_times:
        concurrency = 1
    if concurrency is not None:
        at_least_one("concurrency", concurrency)
    found = Schedule(
        concurrency,
        None if rate is None else _rate(rate),
        _shape(arrival, burstiness),
        parse(ramp, SECONDS),
        _parse_edge("warmup", warmup),
        _parse_edge("cooldown", cooldown),
        None if duration is None else parse(duration, SECONDS),
        parse(max_error_rate, SHARE),
    )
    _check(found, workload)
    return found


def _check(found: Schedule, workload: Workload) -> None:
    if workload.requests is None and (found.rate is None or found.duration_s is None):
        raise ValueError("a workload without requests needs a rate and a duration, or say how many: requests=1000")
    if workload.has_times and found.ramp_s:
        raise ValueError("a trace has no ramp: leave it out")
    whole = found.ramp_s + sum(edge for edge in (found.warmup, found.cooldown) if isinstance(edge, float))
    if found.duration_s is not None and whole >= found.duration_s:
        raise ValueError(
            f"ramp, warmup and cooldown ({_seconds(whole)}) are parts of the duration "
            f"({_seconds(found.duration_s)}) and leave nothing of it to judge"
        )
    edges = sum(edge for edge in (found.warmup, found.cooldown) if isinstance(edge, int))
    if workload.requests is not None and edges >= workload.requests:
        raise ValueError(f"warmup and cooldown leave none of the {workload.requests} requests to judge")


def _unit_process(shape: float | None, seed: int) -> Iterator[float]:
    """Arrivals of one per unit of time on the average."""
    if shape is None:
        yield from map(float, count())
        return
    random, now = Random(f"{seed} arrivals"), 0.0
    while True:
        now += random.gammavariate(shape, 1 / shape)
        yield now


def _rate(text: object) -> float:
    match = _RATE.fullmatch(text.strip()) if isinstance(text, str) else None
    rate = float(match[1]) / {"s": 1, "min": 60}[match[2]] if match else 0.0
    if rate <= 0:
        raise ValueError(f"rate={text!r} is no rate of requests: write a string such as '50/s' or '30/min'")
    return rate


def _shape(arrival: str, burstiness: float) -> float | None:
    if arrival not in ("poisson", "constant"):
        raise ValueError(f"arrival={arrival!r} is neither 'poisson' nor 'constant'")
    if arrival == "constant":
        if burstiness != 1.0:
            raise ValueError("arrival='constant' has no burstiness: leave one of the two out")
        return None
    if not 0 < burstiness < float("inf"):
        raise ValueError(f"burstiness={burstiness!r} must be above 0: 1 is a Poisson process, less comes in bursts")
    return float(burstiness)


def _parse_edge(name: str, value: object) -> Edge:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    try:
        return parse(value, SECONDS)
    except ValueError:
        raise ValueError(f"{name}={value!r} is neither a number of requests nor a time such as '5 s'") from None


def _seconds(value: float) -> str:
    return format_value(value, SECONDS)


def _edge(edge: Edge) -> str:
    if isinstance(edge, int):
        return f"{edge} request{'' if edge == 1 else 's'}"
    return _seconds(edge)
