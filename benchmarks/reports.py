"""What each form of report costs: its time and its size by the number of tests, and of one test of very many requests.

    python benchmarks/reports.py [--tests 1 100 1000] [--requests 1000000]

Each test sent 200 requests, four at a time, and has four budgets, of which every tenth test breaks one. Times are
those of the processor; ``share`` is the time as a multiple of that of the JSON report.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.reports.files.formats import FORMATS
from pytest_llmperf.reports.junit import list_properties
from pytest_llmperf.reports.result import TestResult
from pytest_llmperf.reports.terminal.summary import render_summary
from pytest_llmperf.reports.wire.measurement import measurement_to_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_llmperf.reports.files.formats import Render

    Write = Callable[[Sequence[TestResult]], str]

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.helpers.closed_loop import LIMITS, TIGHT_LIMITS, measure_closed_loop

REPEATS = 3
SESSION: dict[str, Any] = {
    "pytest_llmperf": "0.1.0",
    "command_line": ["pytest", "--llm-engine=llamacpp", "--llmperf-strict"],
    "run": {"exit_status": 1, "options": ["--llm-engine=llamacpp", "--llmperf-strict"]},
}


def make_result(requests: int, limits: Sequence[Any], outcome: str, *, tells: bool = False) -> TestResult:
    """The result of a test of so many requests; ``tells`` how long it took before a report is written."""
    measurement = measure_closed_loop(requests)
    start = time.process_time()
    verdicts = judge(limits, measurement)
    judged = time.process_time()
    wire = measurement_to_wire(measurement, [verdict.name for verdict in verdicts])
    if tells:
        packed = time.process_time()
        print(f"\n{requests:,} requests: judged in {judged - start:.1f} s, made plain data in {packed - judged:.1f} s")
    return TestResult("tests/test_chat.py::test_chat_is_fast", tuple(verdicts), wire, outcome, 91.27)


def make_run(tests: int) -> list[TestResult]:
    """So many tests, ten of each function; the first of each function breaks a budget."""
    good, bad = make_result(200, LIMITS, "passed"), make_result(200, TIGHT_LIMITS, "failed")
    return [
        replace(bad if at % 10 == 0 else good, nodeid=f"tests/test_chat.py::test_chat_{at // 10}[prompt-{at % 10}]")
        for at in range(tests)
    ]


def list_forms() -> dict[str, Write]:
    """Each form of report by its name."""
    return {
        **{f"`{suffix}`": partial(_render, render) for suffix, render in FORMATS.items()},
        "JUnit properties": lambda results: "".join(f"{pair}" for one in results for pair in list_properties(one)),
        "terminal": lambda results: "\n".join(render_summary(results, width=100)),
    }


def _render(render: Render, results: Sequence[TestResult]) -> str:
    return render(results, SESSION)


def measure(write: Write, results: Sequence[TestResult]) -> tuple[float, int]:
    """The shortest of three times of the processor in seconds, and the size in bytes."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        text = write(results)
        times.append(time.process_time() - start)
    return min(times), len(text.encode())


def print_table(title: str, results: Sequence[TestResult]) -> None:
    """A row for each form."""
    print(f"\n| {title} | time | share | size |\n| :-- | --: | --: | --: |")
    of_json = 0.0
    for name, write in list_forms().items():
        seconds, size = measure(write, results)
        of_json = of_json or seconds
        print(f"| {name} | {1e3 * seconds:.0f} ms | {seconds / of_json:.2f} | {size / 1e3:.1f} kB |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--requests", type=int, default=1_000_000, help="of one test; 0 leaves it out")
    asked = parser.parse_args()
    for tests in asked.tests:
        print_table(f"{tests} test{'' if tests == 1 else 's'}", make_run(tests))
    if asked.requests:
        result = make_result(asked.requests, LIMITS, "passed", tells=True)
        print_table(f"1 test of {asked.requests:,} requests", [result])


if __name__ == "__main__":
    main()
