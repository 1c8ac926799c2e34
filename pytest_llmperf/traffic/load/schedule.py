"""The schedule of a load: when requests are sent, when the load ends, and which requests belong to its steady part."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from dataclasses import dataclass, fields
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from pytest_llmperf.measurement.units import SECONDS, SHARE, check_count, format_value, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_llmperf.traffic.workloads.workload import Workload

_RATE = re.compile(r"(\d+\.?\d*|\.\d+)\s*(?:req(?:uests)?)?\s*/\s*(s|min)")
Edge = int | float
"""A warm-up or cool-down: a number of requests (int) or seconds (float)."""


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """The options by which ``llm_client.run`` schedules a workload, as the caller writes them.

    Attributes:
        concurrency: requests in flight at a time (a closed loop); 1 if neither it nor ``rate`` is given and the
            workload has no timestamps.
        rate: requests per second or minute of an open loop, such as ``"50/s"`` or ``"30/min"``.
        arrival: the gaps of an open loop: ``"poisson"`` or ``"constant"``.
        burstiness: shape of the gamma distribution of the gaps: 1 is a Poisson process, less comes in bursts.
        duration: after this time, such as ``"60 s"``, no request is sent any more; None for no limit.
        ramp: time in which the rate or the concurrency rises from 0.
        warmup: requests, or time, after the ramp that are not judged.
        cooldown: requests, or time, at the end that are not judged.
        max_error_rate: share of failed requests, such as ``"1 %"``, above which the load stops and fails.
        until: ``"decided"`` to send stretch after stretch, each as long as the workload and of other requests of the
            same mix, until the budgets of the test are decided.
        max_requests: the most requests of a load that grows so; None for no limit.
    """

    concurrency: int | None = None
    rate: str | None = None
    arrival: str = "poisson"
    burstiness: float = 1.0
    duration: str | None = None
    ramp: str = "0 s"
    warmup: int | str = 0
    cooldown: int | str = 0
    max_error_rate: str = "0 %"
    until: Literal["decided"] | None = None
    max_requests: int | None = None


OPTION_NAMES = frozenset(field.name for field in fields(ScheduleOptions))


@dataclass(frozen=True)
class Schedule:
    """When a load sends its requests: in a closed loop, in an open loop at a rate, or at the times of a trace.

    Attributes:
        concurrency: requests in flight at a time in a closed loop; None for an open loop.
        rate: requests per second of an open loop; None for a closed loop and for a trace.
        shape: shape of the gamma distribution of the gaps: 1 is a Poisson process, more is steadier, None is a
            constant rate.
        ramp_s: seconds in which rate or concurrency rise from 0.
        warmup: what is not judged after the ramp.
        cooldown: what is not judged at the end.
        duration_s: seconds after which no request is sent any more; None for no limit.
        max_error_rate: share of failed requests above which the load stops.
        grows: whether it goes on, stretch after stretch, until the budgets of the test are decided.
        max_requests: the most requests of a load that grows; None for no limit.
    """

    concurrency: int | None = None
    rate: float | None = None
    shape: float | None = 1.0
    ramp_s: float = 0.0
    warmup: Edge = 0
    cooldown: Edge = 0
    duration_s: float | None = None
    max_error_rate: float = 0.0
    grows: bool = False
    max_requests: int | None = None

    @property
    def open(self) -> bool:
        """Whether requests are sent at given moments, however many are still in flight."""
        return self.concurrency is None

    def generate_arrivals(self, seed: int | str) -> Iterator[float]:
        """Yields the moments at which an open loop sends, in seconds from its start, without end.

        The rate rises linearly in the ramp, so the expected number of arrivals up to t is rate·t²/(2·ramp) there and
        rate·(t − ramp/2) after it. Each arrival of a process of rate 1 is mapped by the inverse of that function.
        """
        assert self.rate is not None
        half = self.rate * self.ramp_s / 2
        for arrived in _generate_unit_arrivals(self.shape, seed):
            if arrived < half:
                yield math.sqrt(2 * self.ramp_s * arrived / self.rate)
            else:
                yield arrived / self.rate + self.ramp_s / 2

    def list_user_starts(self) -> list[float]:
        """Lists when each user of a closed loop sends the first request, in seconds from its start."""
        users = self.concurrency or 0
        return [self.ramp_s * number / users for number in range(users)]

    def find_steady(self, starts: Sequence[int], begun_ns: int) -> slice:
        """Finds the steady part: the requests after ramp and warm-up and before the cool-down.

        ``starts`` are the start times of all requests in ns, ascending; ``begun_ns`` is the start of the load.
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

    def describe_edges(self) -> str:
        """The warm-up and the cool-down in words; "nothing" without either."""
        parts = [f"a warm-up of {_edge_text(self.warmup)}"] if self.warmup else []
        parts += [f"a cool-down of {_edge_text(self.cooldown)}"] if self.cooldown else []
        return " and ".join(parts) or "nothing"

    def describe(self) -> dict[str, Any]:
        """When requests are sent, as plain data, without how many: equal in every run of the same schedule."""
        if self.concurrency is not None:
            found: dict[str, Any] = {"concurrency": self.concurrency}
        else:
            found = {"rate": self.rate, "shape": self.shape}
        return {**found, "ramp_s": self.ramp_s} if self.ramp_s else found

    def __str__(self) -> str:
        if self.concurrency is not None:
            parts = [f"closed loop, {self.concurrency} at a time"]
        elif self.rate is None:
            parts = ["open loop, at the times of the trace"]
        else:
            kind = {None: "constant", 1.0: "Poisson"}.get(self.shape, f"gamma (burstiness {self.shape})")
            parts = [f"open loop, {kind}, {self.rate:g} req/s"]
        parts += [f"ramp {_seconds(self.ramp_s)}"] if self.ramp_s else []
        parts += [f"warm-up {_edge_text(self.warmup)}"] if self.warmup else []
        parts += [f"cool-down {_edge_text(self.cooldown)}"] if self.cooldown else []
        parts += [f"for {_seconds(self.duration_s)}"] if self.duration_s is not None else []
        parts += ["until decided"] if self.grows else []
        parts += [f"{self.max_requests} requests at most"] if self.max_requests is not None else []
        return ", ".join(parts)


def parse_schedule(workload: Workload, options: ScheduleOptions) -> Schedule:
    """Parses the options of a run of ``workload``.

    Raises:
        ValueError: an option cannot be parsed, or contradicts another one or the workload; the message names it.
    """
    concurrency = options.concurrency
    if concurrency is not None and options.rate is not None:
        raise ValueError("give rate (an open loop) or concurrency (a closed loop), not both")
    if workload.has_times and (concurrency is not None or options.rate is not None):
        raise ValueError("this workload has timestamps: leave out rate and concurrency, or the timestamps")
    if concurrency is None and options.rate is None and not workload.has_times:
        concurrency = 1
    if concurrency is not None:
        check_count("concurrency", concurrency)
    warmup, cooldown = parse_edges(options.warmup, options.cooldown)
    found = Schedule(
        concurrency=concurrency,
        rate=None if options.rate is None else parse_rate(options.rate),
        shape=_parse_shape(options.arrival, options.burstiness),
        ramp_s=parse(options.ramp, SECONDS),
        warmup=warmup,
        cooldown=cooldown,
        duration_s=None if options.duration is None else parse(options.duration, SECONDS),
        max_error_rate=parse(options.max_error_rate, SHARE),
        grows=_parse_until(options.until),
        max_requests=options.max_requests,
    )
    _check(found, workload)
    return found


def parse_edges(warmup: object, cooldown: object) -> tuple[Edge, Edge]:
    """Parses a warm-up and a cool-down: numbers of requests, or times such as ``"5 s"``.

    Raises:
        ValueError: one is neither.
    """
    return _parse_edge("warmup", warmup), _parse_edge("cooldown", cooldown)


def _parse_until(until: str | None) -> bool:
    if until not in (None, "decided"):
        raise ValueError(f"until={until!r} is not known: write 'decided', or leave it out")
    return until is not None


def _check_growth(found: Schedule, workload: Workload) -> None:
    if found.max_requests is not None:
        if not found.grows:
            raise ValueError("max_requests is for a load that grows: give until='decided' as well")
        check_count("max_requests", found.max_requests)
        if workload.requests is not None and found.max_requests < workload.requests:
            raise ValueError(f"max_requests={found.max_requests} is less than the {workload.requests} of the workload")
    if found.grows:
        workload.grow(1)


def _check(found: Schedule, workload: Workload) -> None:
    _check_growth(found, workload)
    if workload.requests is None and (found.rate is None or found.duration_s is None):
        raise ValueError("a workload without requests= needs a rate and a duration; or say how many: requests=1000")
    if workload.has_times and found.ramp_s:
        raise ValueError("a trace has no ramp: leave it out")
    whole = found.ramp_s + sum(edge for edge in (found.warmup, found.cooldown) if isinstance(edge, float))
    if found.duration_s is not None and whole >= found.duration_s:
        raise ValueError(
            f"ramp, warmup and cooldown ({_seconds(whole)}) take all of the duration "
            f"({_seconds(found.duration_s)}) and leave nothing to judge"
        )
    edges = sum(edge for edge in (found.warmup, found.cooldown) if isinstance(edge, int))
    if workload.requests is not None and edges >= workload.requests:
        raise ValueError(f"warmup and cooldown leave none of the {workload.requests} requests to judge")


def _generate_unit_arrivals(shape: float | None, seed: int | str) -> Iterator[float]:
    """Yields arrivals of a process with one arrival per unit of time on average."""
    if shape is None:
        yield from map(float, count())
        return
    random, now = Random(f"{seed} arrivals"), 0.0
    while True:
        now += random.gammavariate(shape, 1 / shape)
        yield now


def parse_rate(text: object, name: str = "rate") -> float:
    """Requests per second, from a text such as ``"50/s"``.

    Raises:
        ValueError: it is none; the message has the ``name`` of the argument.
    """
    match = _RATE.fullmatch(text.strip()) if isinstance(text, str) else None
    rate = float(match[1]) / {"s": 1, "min": 60}[match[2]] if match else 0.0
    if rate <= 0:
        raise ValueError(f"{name}={text!r} is not a rate of requests: write a string such as '50/s' or '30/min'")
    return rate


def _parse_shape(arrival: str, burstiness: float) -> float | None:
    if arrival not in ("poisson", "constant"):
        raise ValueError(f"arrival={arrival!r} is neither 'poisson' nor 'constant'")
    if arrival == "constant":
        if burstiness != 1.0:
            raise ValueError("arrival='constant' takes no burstiness: leave out one of the two")
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


def _edge_text(edge: Edge) -> str:
    if isinstance(edge, int):
        return f"{edge} request{'' if edge == 1 else 's'}"
    return _seconds(edge)
