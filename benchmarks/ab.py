"""How often A/B verdicts are right: builds of known difference are compared many times, on hosts of known noise.

    python benchmarks/ab.py [--trials 300]

Prints a Markdown table: for a new build that is as fast as the old one, exactly at its limit of +10 %, or 20 % slower,
the share of FAIL, PASS and INCONCLUSIVE, the mean number of pairs, and the engine's time as a share of that of ten
fixed pairs. The noise is that of a round within a session; 3 % of the rounds are slowed by 20 % by a stranger. The
last column is what ten fixed pairs find, judged once. Nothing of it depends on the speed of this machine.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter
from dataclasses import dataclass

from pytest_llmperf.budgets.comparison.changes import MOST_PAIRS, estimate_change
from pytest_llmperf.budgets.comparison.pairs import Pair, PairedLimit, SideValue
from pytest_llmperf.budgets.limit import parse_limits

LIMIT = 0.10
BUILDS = {"the same": 1.0, "at the limit": 1 + LIMIT, "20 % slower": 1.2}
HOSTS = {"quiet": 0.01, "usual, 2 %": 0.02, "usual, 3.5 %": 0.035, "usual, 5 %": 0.05, "noisy, 9 %": 0.09}
OUTLIERS, OUTLIER = 0.03, 1.2
FIXED_PAIRS, FIXED_ERROR = 10, 0.01


@dataclass(frozen=True)
class Case:
    """A new build that takes ``ratio`` times as long as the old one, on a host of this noise."""

    ratio: float
    noise: float

    def draw_pairs(self, generator: random.Random, count: int) -> list[tuple[float, float]]:
        """The values of so many pairs, (new, old)."""
        return [(self.ratio * self._draw(generator), self._draw(generator)) for _ in range(count)]

    def _draw(self, generator: random.Random) -> float:
        slowed = OUTLIER if generator.random() < OUTLIERS else 1.0
        return slowed * math.exp(generator.gauss(0, self.noise))

    def compare(self, generator: random.Random) -> tuple[str, int]:
        """The verdict, and the number of pairs that it took."""
        (limit,) = parse_limits("latency", {"e2e_max": f"+{LIMIT:.0%}"}, "benchmark")
        paired = PairedLimit(limit, "new", "old")
        for new, old in self.draw_pairs(generator, MOST_PAIRS):
            if not paired.is_open:
                break
            paired.add(Pair(SideValue(new, 1), SideValue(old, 1)))
        return paired.judge().status.value, len(paired.pairs)

    def compare_fixed(self, generator: random.Random) -> bool:
        """Whether ten pairs, judged once with an error of 1 %, show the new build beyond its limit."""
        change = estimate_change(self.draw_pairs(generator, FIXED_PAIRS), FIXED_ERROR, FIXED_ERROR)
        return change.low > LIMIT


def describe(name: str, host: str, trials: int) -> str:
    """One row of the table."""
    case, generator = Case(BUILDS[name], HOSTS[host]), random.Random(f"{name} {host}")
    found = [case.compare(generator) for _ in range(trials)]
    statuses = Counter(status for status, _ in found)
    shares = " | ".join(f"{statuses[status] / trials:.1%}" for status in ("FAIL", "PASS", "INCONCLUSIVE"))
    pairs = sum(count for _, count in found) / trials
    fixed = sum(case.compare_fixed(generator) for _ in range(trials)) / trials
    return f"| {name} | {host} | {shares} | {pairs:.1f} | {pairs / FIXED_PAIRS:.0%} | {fixed:.1%} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300)
    trials = parser.parse_args().trials
    print("| new build | host | FAIL | PASS | INCONCLUSIVE | pairs | engine time | ten fixed pairs: FAIL |")
    print("| --- | --- | --: | --: | --: | --: | --: | --: |")
    for name in BUILDS:
        for host in HOSTS:
            print(describe(name, host, trials), flush=True)


if __name__ == "__main__":
    main()
