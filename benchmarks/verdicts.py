"""How often verdicts are wrong: builds of known quality are judged many times, on hosts of known noise.

    python benchmarks/verdicts.py [--trials 1000] [--sessions 100]

Prints a Markdown table: for true values of 0.80 to 1.20 times an upper limit (for a rate the other way round) the share
of PASS, FAIL and INCONCLUSIVE; where a test is judged after each round, also the rounds that it took. Nothing of it
depends on the speed of this machine. With ``--sessions`` it runs so many whole pytest sessions instead.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat

from whole_sessions import run_whole_sessions

from pytest_llmperf.budgets.interval import Confidence, find_interval
from pytest_llmperf.metrics.evidence import Evidence, RateUnits, RequestValues
from pytest_llmperf.metrics.statistics import Statistic

TRUTHS = (0.80, 0.90, 0.95, 1.00, 1.05, 1.10, 1.20)
HOSTS = {"quiet": 0.02, "usual": 0.05, "noisy": 0.09}
P95 = Statistic(95.0)
MOST_LOOKS = 30
SPREAD = 0.3
"""The standard deviation of the logarithm of a request's latency within one moment."""

Noise = Callable[[random.Random, int, float], list[float]]


def independent(generator: random.Random, count: int, noise: float) -> list[float]:
    """The state of the host at each of ``count`` moments, as a factor: nothing alike."""
    return [math.exp(generator.gauss(0, noise)) for _ in range(count)]


def alike(generator: random.Random, count: int, noise: float) -> list[float]:
    """The same as an AR(1) process in which neighbours have a correlation of 0.8."""
    level = generator.gauss(0, 1)
    found = []
    for _ in range(count):
        found.append(math.exp(noise * level))
        level = 0.8 * level + generator.gauss(0, 0.6)
    return found


def drifting(generator: random.Random, count: int, noise: float) -> list[float]:
    """The same with a drift of twice the noise from the first moment to the last, around the truth."""
    slope = generator.choice((-1, 1)) * 2 * noise
    return [math.exp(slope * (at / max(1, count - 1) - 0.5) + generator.gauss(0, noise / 2)) for at in range(count)]


def heavy_tailed(generator: random.Random, count: int, noise: float) -> list[float]:
    """Independent moments of which 3 % are half again as slow."""
    return [math.exp(generator.gauss(0, noise)) * (1.5 if generator.random() < 0.03 else 1) for _ in range(count)]


NOISES: dict[str, Noise] = {"independent": independent, "alike": alike, "drift": drifting, "heavy tail": heavy_tailed}


@dataclass(frozen=True)
class Case:
    """What is judged: a percentile of ``count`` requests, or a rate of ``count`` units."""

    metric: str
    count: int
    host: str
    shape: str
    session: float = 0.0
    stated: float | None = None

    def simulate(self, generator: random.Random, truth: float) -> tuple[Evidence, float]:
        """Evidence of a build whose value is ``truth`` times its limit of 1 in the sense that more is worse."""
        session = math.exp(generator.gauss(0, self.session))
        moments = NOISES[self.shape](generator, self.count, HOSTS[self.host])
        if self.metric == "rate":
            counts = [1 / (truth * session * moment) for moment in moments]
            return RateUnits(counts, [1.0] * self.count, "round"), math.fsum(counts) / self.count
        at_p95 = truth * session / _true_p95(self.shape, HOSTS[self.host])
        values = [at_p95 * moment * math.exp(generator.gauss(0, SPREAD)) for moment in moments]
        return RequestValues([(value,) for value in values], is_per_request=True), sorted(values)[
            math.ceil(0.95 * self.count) - 1
        ]

    def judge(self, generator: random.Random, truth: float) -> str:
        evidence, value = self.simulate(generator, truth)
        confidence = Confidence(session_noise=self.stated)
        interval = find_interval(
            evidence,
            P95 if self.metric == "p95" else None,
            value,
            "lower" if self.metric == "p95" else "higher",
            confidence,
        )
        if interval is None:
            raise RuntimeError("a value with noise has an interval")
        best, worst = (interval.low, interval.high) if self.metric == "p95" else (interval.high, interval.low)
        if worst is not None and (worst <= 1 if self.metric == "p95" else worst >= 1):
            return "PASS"
        return "FAIL" if best is not None and (best > 1 if self.metric == "p95" else best < 1) else "INCONCLUSIVE"


@dataclass(frozen=True)
class SequentialCase:
    """A rate that is judged after each round until it is decided, as ``--llmperf-rounds=auto`` does."""

    host: str
    shape: str

    def judge(self, generator: random.Random, truth: float) -> str:
        """The verdict with the rounds that it took, as in ``FAIL 4``."""
        moments = NOISES[self.shape](generator, MOST_LOOKS, HOSTS[self.host])
        counts: list[float] = []
        for moment in moments:
            counts.append(1 / (truth * moment))
            evidence = RateUnits(counts, [1.0] * len(counts), "round")
            interval = find_interval(
                evidence, None, math.fsum(counts) / len(counts), "higher", Confidence().at_each_look()
            )
            if interval is not None and (interval.low or 0.0) >= 1:
                return f"PASS {len(counts)}"
            if interval is not None and (interval.high or math.inf) < 1:
                return f"FAIL {len(counts)}"
        return f"INCONCLUSIVE {MOST_LOOKS}"


_KNOWN_P95: dict[tuple[str, float], float] = {}


def _true_p95(shape: str, noise: float) -> float:
    """The p95 of this noise and the spread of requests, from many of them."""
    if (shape, noise) not in _KNOWN_P95:
        generator = random.Random(7)
        moments = [moment for _ in range(400) for moment in NOISES[shape](generator, 500, noise)]
        values = sorted(moment * math.exp(generator.gauss(0, SPREAD)) for moment in moments)
        _KNOWN_P95[shape, noise] = values[math.ceil(0.95 * len(values)) - 1]
    return _KNOWN_P95[shape, noise]


def list_cases() -> Iterator[Case]:
    for metric, count in (("p95", 130), ("p95", 400), ("rate", 3), ("rate", 8), ("rate", 20)):
        for host in HOSTS:
            for shape in NOISES:
                yield Case(metric, count, host, shape)
    for session in (0.02, 0.05):
        for stated in (None, session):
            yield Case("p95", 400, "usual", "independent", session, stated)
            yield Case("rate", 8, "usual", "independent", session, stated)
    # What swings more slowly than a test lasts is noise between sessions as well.
    for host in ("usual", "noisy"):
        yield Case("rate", 8, host, "alike", 0.0, HOSTS[host])


def run(case: Case, trials: int) -> list[Counter[str]]:
    generator = random.Random(f"{case}")
    return [Counter(case.judge(generator, truth) for _ in range(trials)) for truth in TRUTHS]


def describe(case: Case) -> str:
    unit = "requests" if case.metric == "p95" else "rounds"
    session = ""
    if case.session:
        session = f", {case.session:.0%} between sessions, {'unknown' if case.stated is None else 'known'}"
    elif case.stated is not None:
        session = f", {case.stated:.0%} between sessions stated"
    return f"{case.metric} of {case.count} {unit}, {case.host}, {case.shape}{session}".replace("%", " %")


def render(cases: Sequence[Case], found: Sequence[Sequence[Counter[str]]], trials: int) -> Iterator[str]:
    yield "| true value ÷ limit | " + " | ".join(f"{truth:.2f}" for truth in TRUTHS) + " |"
    yield "| :-- |" + " --: |" * len(TRUTHS)
    for case, counts in zip(cases, found, strict=True):
        cells = (f"{100 * c['PASS'] / trials:.1f} / {100 * c['FAIL'] / trials:.1f}" for c in counts)
        yield f"| {describe(case)} | {' | '.join(cells)} |"


def run_sequential(case: SequentialCase, trials: int) -> str:
    """One row: PASS / FAIL in percent, and the rounds that it took in the mean, for each true value."""
    generator, cells = random.Random(f"{case}"), []
    for truth in TRUTHS:
        found = [case.judge(generator, truth).split() for _ in range(trials)]
        passed, failed = (100 * sum(one[0] == name for one in found) / trials for name in ("PASS", "FAIL"))
        cells.append(f"{passed:.1f} / {failed:.1f} ({sum(int(one[1]) for one in found) / trials:.1f})")
    return f"| rate, after each round, {case.host}, {case.shape} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=0, help="whole pytest sessions of each kind, instead")
    parser.add_argument("--only", default="", help="cases whose description holds this text")
    options = parser.parse_args()
    if options.sessions:
        print("\n".join(run_whole_sessions(options.sessions, options.only)))
        return
    cases = [case for case in list_cases() if options.only in describe(case)]
    looked = [SequentialCase(host, shape) for host in HOSTS for shape in NOISES]
    looked = [case for case in looked if options.only in f"after each round, {case.host}, {case.shape}"]
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(run, cases, repeat(options.trials)))
        rows = list(pool.map(run_sequential, looked, repeat(options.trials)))
    print(f"PASS / FAIL in % of {options.trials} trials; the rest is INCONCLUSIVE\n")
    print("\n".join([*render(cases, found, options.trials), *rows]))


if __name__ == "__main__":
    main()
