"""What a large store costs, and how sure change points are.

    python benchmarks/store.py [--runs 10000] [--tests 20] [--trials 1000]

Fills a folder with runs of one name and fingerprint, then prints how long it takes to find what a run is compared with
(the newest runs and the anchor), to list them, to show a history, and to search a series for change points. Then it
searches simulated series: how often noise alone has a change, and how often a change of a known size is found.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from functools import partial
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.baselines.change_points import find_change_points
from pytest_llmperf.baselines.history import read_history
from pytest_llmperf.baselines.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.helpers.stored_reports import FINGERPRINT, make_report, make_test

BYTES_OF_A_TEST = 4000


def make_noise(count: int, generator: random.Random, memory: float = 0.0) -> list[float]:
    """Noise of unit variance; ``memory`` is the correlation of neighbours."""
    values = [generator.gauss(0, 1)]
    while len(values) < count:
        values.append(memory * values[-1] + sqrt(1 - memory**2) * generator.gauss(0, 1))
    return values


def measure(what: str, work: Callable[[], object]) -> None:
    """Prints how long the work takes."""
    start = time.perf_counter()
    work()
    print(f"| {what} | {time.perf_counter() - start:.3f} s |", flush=True)


def fill(store: Store, runs: int, tests: int) -> None:
    """Stores runs whose tests are as large as a report's."""
    filling = "x" * (BYTES_OF_A_TEST - 600)
    for run in range(runs):
        entries = [
            make_test(f"test_chat.py::test_{number}", {"latency.ttft_p50": 0.1 + run % 7 / 1000}, filling=filling)
            for number in range(tests)
        ]
        store.save("main", make_report(*entries, day=run / 24))


def print_costs(runs: int, tests: int) -> None:
    """The costs of a store of so many runs."""
    print(f"| {runs} runs of {tests} tests | time |\n| :-- | --: |")
    with tempfile.TemporaryDirectory() as folder:
        measure("to store them all", lambda: fill(Store(folder), runs, tests))
        measure("the newest 20 and the anchor", lambda: find_past(Store(folder)))
        measure("names and fingerprints", lambda: Store(folder).fingerprints("main"))
        measure("history of 500 runs", lambda: read_history(Store(folder), "main", "ttft_p50", test_glob="*_1"))
    generator = random.Random(1)
    for length in (50, 500):
        values = make_noise(length, generator)
        shifted = [value + 3 * (place * 3 // length) for place, value in enumerate(values)]
        measure(f"change points of {length} values of noise", partial(find_change_points, values))
        measure(f"of {length} values with two changes", partial(find_change_points, shifted))


def find_past(store: Store) -> None:
    """What a run is compared with."""
    assert len(store.find_runs("main", FINGERPRINT)) == 20
    assert store.find_anchor("main", FINGERPRINT) is not None


def print_errors(trials: int) -> None:
    """How often change points are found where there are none, and where there is one."""
    print("\n| noise alone, correlation of neighbours | 0 | 0.2 | 0.4 |\n| :-- | --: | --: | --: |")
    for length in (20, 50, 200):
        cells = [count_alarms(length, memory, trials) for memory in (0.0, 0.2, 0.4)]
        print(f"| {length} runs | {' | '.join(f'{cell:.1%}' for cell in cells)} |", flush=True)
    print("\n| 40 runs, change by ... standard deviations | 1 | 2 | 3 | 6 |\n| :-- | --: | --: | --: | --: |")
    for after in (3, 5, 8, 15):
        cells = [count_found(40, after, size, trials // 5) for size in (1, 2, 3, 6)]
        print(f"| {after} runs after it | {' | '.join(f'{cell:.0%}' for cell in cells)} |", flush=True)


def count_alarms(length: int, memory: float, trials: int) -> float:
    """In which share of series without a change one is found."""
    found = [bool(find_change_points(make_noise(length, random.Random(n), memory), seed=n)) for n in range(trials)]
    return sum(found) / trials


def count_found(length: int, after: int, size: float, trials: int) -> float:
    """In which share of series a change is found at most two runs from its place, so many runs after it."""
    found = 0
    for number in range(trials):
        noise = make_noise(length, random.Random(number))
        values = [value + size * (place >= length - after) for place, value in enumerate(noise)]
        found += any(abs(change.index - length + after) <= 2 for change in find_change_points(values, seed=number))
    return found / trials


def main() -> None:
    """Prints all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--tests", type=int, default=20)
    parser.add_argument("--trials", type=int, default=1000)
    asked = parser.parse_args()
    print_costs(asked.runs, asked.tests)
    print_errors(asked.trials)


if __name__ == "__main__":
    main()
