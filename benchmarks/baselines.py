"""How often a change against stored runs is found, and how often a good build fails: on hosts of known noise.

    python benchmarks/baselines.py [--trials 1000]

Prints a Markdown table: for builds that are 0 to 30 % slower than their history, under a limit of +10 % (for a rate
-10 %), the share of PASS and FAIL. Nothing of it depends on the speed of this machine.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.comparison.history import SIDES, compare_with_past
from pytest_llmperf.budgets.comparison.past import Past, PastValue
from pytest_llmperf.budgets.interval import Confidence, find_interval
from pytest_llmperf.budgets.limit import parse_limits
from pytest_llmperf.metrics.evidence import RateUnits, RequestValues
from pytest_llmperf.metrics.statistics import Statistic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHANGES = (0.0, 0.05, 0.10, 0.20, 0.30)
HOSTS = {
    "between 0.5 %, within 1 %": (0.005, 0.01),
    "between 2 %, within 2.5 %": (0.02, 0.025),
    "between 5 %, within 5 %": (0.05, 0.05),
    "between 8 %, within 9 %": (0.08, 0.09),
}
RUNS = (5, 10, 20)
ROUNDS = 5
REQUESTS = 130
P95 = Statistic(95.0)
OUTLIERS = 0.03
"""The share of rounds, or of requests, that are a fifth slower, whatever the build."""
ANCHOR_AGE = 60
"""How many runs ago the anchor was stored, where there is one."""


@dataclass(frozen=True)
class Case:
    """A metric, ``rate`` or ``p95``, on a host, compared with so many stored runs, beside other comparisons.

    With a ``drift`` each run was slower by this share than the one before it, and there is an anchor.
    """

    metric: str
    host: str
    runs: int
    comparisons: int = 1
    drift: float = 0.0

    def judge(self, generator: random.Random, change: float) -> str:
        """The verdict on a build whose times are longer than those of its history by this share."""
        key, text = ("output", "-10 %") if self.metric == "rate" else ("ttft_p95", "+10 %")
        [limit] = parse_limits("throughput" if self.metric == "rate" else "latency", {key: text}, "here")
        confidence = Confidence(comparisons=self.comparisons)
        past = Past(
            tuple(self._remember(generator, age) for age in range(1, self.runs + 1)),
            self._remember(generator, ANCHOR_AGE) if self.drift else None,
        )
        # On the scale of a rate, a build that is 10 % worse has 90 % of the tokens.
        factor = 1 / (1 - change) if self.metric == "rate" else 1 + change
        evidence, value = self._measure(generator, factor)
        better = limit.definition.better
        within = find_interval(evidence, limit.statistic, value, better, confidence.share_error(SIDES))
        found = compare_with_past(limit, value, within, past, confidence, samples=self._samples)
        if found.interval is None:
            raise RuntimeError("a value with noise has an interval")
        low, high = found.interval.low, found.interval.high
        if better == "higher":
            low, high = (-x if x is not None else None for x in (high, low))
        allowed = found.allowed if better == "lower" else -found.allowed
        if high is not None and high <= allowed:
            return "PASS"
        return "FAIL" if low is not None and low > allowed else "INCONCLUSIVE"

    def _remember(self, generator: random.Random, age: int) -> PastValue:
        return PastValue(self._measure(generator, (1 + self.drift) ** -age)[1], self._samples)

    @property
    def _samples(self) -> int:
        return ROUNDS if self.metric == "rate" else REQUESTS

    def _measure(self, generator: random.Random, factor: float) -> tuple[RateUnits | RequestValues, float]:
        """One session of a build whose times are ``factor`` times as long: its evidence and its value."""
        between, within = HOSTS[self.host]
        session = factor * math.exp(generator.gauss(0, between))

        def draw(spread: float) -> float:
            return session * math.exp(generator.gauss(0, spread)) * (1.2 if generator.random() < OUTLIERS else 1)

        if self.metric == "rate":
            counts = [1 / draw(within) for _ in range(ROUNDS)]
            return RateUnits(counts, [1.0] * ROUNDS, "round"), math.fsum(counts) / ROUNDS
        evidence = RequestValues([(draw(0.3),) for _ in range(REQUESTS)], is_per_request=True)
        return evidence, P95.of(evidence.ordered)


def list_cases() -> Iterator[Case]:
    for metric in ("rate", "p95"):
        for host in HOSTS:
            for runs in RUNS:
                yield Case(metric, host, runs)
    usual = list(HOSTS)[1]
    yield Case("rate", usual, 20, comparisons=20)
    yield Case("rate", usual, 20, drift=0.005)


def run(case: Case, trials: int) -> list[Counter[str]]:
    """The verdicts on a build of each change."""
    generator = random.Random(f"{case}")
    return [Counter(case.judge(generator, change) for _ in range(trials)) for change in CHANGES]


def describe(case: Case) -> str:
    what = f"rate of {ROUNDS} rounds" if case.metric == "rate" else f"p95 of {REQUESTS} requests"
    further = f", {case.comparisons} comparisons" if case.comparisons > 1 else ""
    further += f", {100 * case.drift:.1f} % slower with each run" if case.drift else ""
    return f"{what}, {case.host}, {case.runs} runs{further}"


def render(cases: Sequence[Case], found: Sequence[Sequence[Counter[str]]], trials: int) -> Iterator[str]:
    """A Markdown table of PASS / FAIL in percent."""
    yield "| slower by | " + " | ".join(f"{100 * change:.0f} %" for change in CHANGES) + " |"
    yield "| :-- |" + " --: |" * len(CHANGES)
    for case, counts in zip(cases, found, strict=True):
        cells = (f"{100 * c['PASS'] / trials:.1f} / {100 * c['FAIL'] / trials:.1f}" for c in counts)
        yield f"| {describe(case)} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--only", default="", help="cases whose description holds this text")
    options = parser.parse_args()
    cases = [case for case in list_cases() if options.only in describe(case)]
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(run, cases, repeat(options.trials)))
    print(f"PASS / FAIL in % of {options.trials} sessions; the rest is INCONCLUSIVE\n")
    print("\n".join(render(cases, found, options.trials)))


if __name__ == "__main__":
    main()
