"""A queue in virtual time: requests of a Poisson process wait for one of several slots."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.chunks import Chunk
from pytest_llmperf.measurement.measurement import Measurement
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.measurement.window import Window

if TYPE_CHECKING:
    import random

    from pytest_llmperf.measurement.request import Phase


def serve(rate: float, requests: int, warmup: int, slots: int, mean_s: float, generator: random.Random) -> Measurement:
    """Requests that each have a slot for an exponential time; their first token comes when they get one."""
    free, now, timed = [0.0] * slots, 0.0, []
    for number in range(requests):
        now += generator.expovariate(rate)
        begins = max(now, free[0])
        heapq.heapreplace(free, begins + generator.expovariate(1 / mean_s))
        phase: Phase = "warmup" if number < warmup else "steady"
        sent, first = round(now * 1e9), round(begins * 1e9) + 1
        timed.append(RequestTiming(sent, first, (Chunk(first),), 1, scheduled_ns=sent, phase=phase))
    return Measurement(Window(timed[0].sent_ns, timed[-1].end_ns), requests=tuple(timed))


def compute_knee(slots: int, mean_s: float, limit_s: float, allowed: float) -> float:
    """The rate at which so large a share waits longer than the limit: Erlang's C with an exponential tail."""
    low, high = 0.0, slots / mean_s
    for _ in range(60):
        rate = (low + high) / 2
        load = rate * mean_s
        alone = math.fsum(load**k / math.factorial(k) for k in range(slots))
        full = load**slots / math.factorial(slots) * slots / (slots - load)
        above = full / (alone + full) * math.exp(-(slots / mean_s - rate) * limit_s)
        low, high = (low, rate) if above > allowed else (rate, high)
    return (low + high) / 2
