"""How well a search finds the highest rate at which latencies keep their limit: on queues of known slots and times.

    python benchmarks/capacity.py [--runs 20] [--queues 3]

Each queue is simulated in virtual time: requests come as a Poisson process and wait for one of its slots in their
order. Its knee is computed from a million requests at each of several rates. Then the search of ``llm_client.capacity``
runs on it many times, and so does a bisection whose runs all have the same length, for several lengths. Prints a
Markdown table for each queue: how many of the results lie within 5 % of the knee, how often the interval covers it, and
how many requests it took. Nothing of it depends on the speed of this machine.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from statistics import fmean
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.capacity.conditions import find_conditions, find_rate, see_step
from pytest_llmperf.budgets.capacity.search import Search
from pytest_llmperf.budgets.limit import parse_limits
from pytest_llmperf.measurement.capacity.steps import SearchOptions
from pytest_llmperf.measurement.chunks import Chunk
from pytest_llmperf.measurement.measurement import Measurement
from pytest_llmperf.measurement.reading import Missing
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.measurement.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.measurement.request import Phase

WITHIN = 0.05
LENGTHS = (500, 1000, 2000, 4000, 8000)
MANY = 1_000_000


@dataclass(frozen=True)
class Queue:
    """A server with slots. ``draw`` gives the seconds that a request has a slot, of which ``mean`` is the mean."""

    name: str
    slots: int
    mean: float
    draw: Callable[[random.Random], float]
    limit: float

    def waits(self, rate: float, requests: int, generator: random.Random) -> list[tuple[float, float]]:
        """When each request came and how long it waited for a slot, in seconds; at first no slot is taken."""
        free, now, found = [0.0] * self.slots, 0.0, []
        for _ in range(requests):
            now += generator.expovariate(rate)
            begins = max(now, free[0])
            heapq.heapreplace(free, begins + self.draw(generator))
            found.append((now, begins - now))
        return found

    def share_above(self, rate: float, requests: int, warmup: int, generator: random.Random) -> float:
        """The share of requests that wait longer than the limit."""
        waits = self.waits(rate, requests, generator)[warmup:]
        return sum(1 for _, wait in waits if wait > self.limit) / len(waits)

    def find_knee(self) -> float:
        """The rate at which 5 % of the requests wait longer than the limit."""
        low, high = 0.2 * self.slots / self.mean, 0.99 * self.slots / self.mean
        while high / low > 1.003:
            middle = math.sqrt(low * high)
            if self.share_above(middle, MANY, MANY // 100, random.Random(1)) > WITHIN:
                high = middle
            else:
                low = middle
        return math.sqrt(low * high)


QUEUES = (
    Queue("4 slots, 0.2 s each, 0.2 s to wait", 4, 0.2, lambda _: 0.2, 0.2),
    Queue("4 slots, 0.2 s exponential, 0.3 s to wait", 4, 0.2, lambda generator: generator.expovariate(5.0), 0.3),
    Queue("8 slots, 0.1 to 0.7 s, 0.4 s to wait", 8, 0.4, lambda generator: generator.uniform(0.1, 0.7), 0.4),
)


@dataclass(frozen=True)
class Found:
    """What one search or bisection gave: the rate, its bounds, and how many requests it sent."""

    rate: float
    low: float
    high: float
    requests: int


def measure(queue: Queue, rate: float, requests: int, warmup: int, generator: random.Random) -> Measurement:
    """A load on a queue, as the load client would have timed it."""
    timed = []
    for number, (at, wait) in enumerate(queue.waits(rate, requests, generator)):
        came, first = round(at * 1e9), round((at + wait) * 1e9)
        phase: Phase = "warmup" if number < warmup else "steady"
        timed.append(RequestTiming(came, first, (Chunk(first),), output_tokens=1, scheduled_ns=came, phase=phase))
    return Measurement(Window(timed[0].sent_ns, timed[-1].end_ns), requests=tuple(timed))


def search(queue: Queue, seed: int) -> Found:
    """One search as ``llm_client.capacity`` makes it."""
    generator = random.Random(seed)
    conditions = find_conditions(parse_limits("latency", {"ttft_p95": f"{queue.limit} s"}, "here"), None)
    assert not isinstance(conditions, Missing)
    found = Search([condition.allowed for condition in conditions], SearchOptions())
    while (step := found.next_step()) is not None and found.requests < 60_000:
        if step.rate is None:
            found.add_probe([queue.draw(generator) for _ in range(step.requests)])
            continue
        measured = measure(queue, step.rate, step.requests, step.warmup, generator)
        rate = find_rate(measured.judged) or step.rate
        points = [see_step(condition, measured, rate) for condition in conditions]
        found.add(step, [point for point in points if not isinstance(point, Missing)])
    estimate = found.estimate()
    assert estimate is not None
    return Found(estimate.rate, estimate.low, estimate.high, found.requests)


def bisect(queue: Queue, seed: int, length: int) -> Found:
    """A bisection to 5 % whose runs all have so many requests; it begins at about the rate of single requests."""
    generator = random.Random(seed)
    low = generator.uniform(0.7, 1.4) / queue.mean
    high, requests = math.inf, 0
    while high / low > 1 + WITHIN:
        middle = 2 * low if math.isinf(high) else math.sqrt(low * high)
        requests += length
        if queue.share_above(middle, length, length // 8, generator) > WITHIN:
            high = middle
        else:
            low = middle
    return Found(math.sqrt(low * high), low, high, requests)


def describe(name: str, found: list[Found], knee: float) -> str:
    """A row of the table."""
    good = sum(abs(one.rate / knee - 1) <= WITHIN for one in found)
    covered = sum(one.low <= knee <= one.high for one in found)
    return f"| {name} | {good} of {len(found)} | {covered} | {fmean(one.requests for one in found):,.0f} |"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20, help="searches and bisections of each length on each queue")
    parser.add_argument("--queues", type=int, default=len(QUEUES), help="how many of the queues")
    asked = parser.parse_args()
    for number, queue in enumerate(QUEUES[: asked.queues]):
        knee = queue.find_knee()
        print(f"\n{queue.name}: {knee:.2f} req/s, {knee * queue.mean / queue.slots:.0%} of all slots\n")
        print("| search | within 5 % | covered | requests |\n|---|---|---|---|", flush=True)
        with ProcessPoolExecutor() as pool:
            print(describe("capacity", list(pool.map(_search, repeat(number), range(asked.runs))), knee), flush=True)
            for length in LENGTHS:
                runs = pool.map(_bisect, repeat(number), range(asked.runs), repeat(length))
                print(describe(f"bisection, {length} each", list(runs), knee), flush=True)


def _search(number: int, seed: int) -> Found:
    return search(QUEUES[number], seed)


def _bisect(number: int, seed: int, length: int) -> Found:
    return bisect(QUEUES[number], seed, length)


if __name__ == "__main__":
    main()
