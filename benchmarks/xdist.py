"""What sharing an engine among workers of pytest-xdist is worth: the wall time of one suite, with each way of sharing.

    pip install -e . pytest-xdist
    python benchmarks/xdist.py [--load=10s] [--tests=40]
    python benchmarks/xdist.py --llm-engine=vllm --llmperf-model=FOLDER  # any options of pytest: on a real engine

The suite is of short tests, half of them with a request to the engine, half with some work of their own. The engine is
a simulated one that sleeps while it starts, or what is asked for. One worker, two and four; once with one engine for
all of them, once with an engine for each, as without sharing. Rounds alternate, and ratios are taken within a round, so
that a machine that drifts does not decide. The engines that were started are counted by their pids.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_TIMEOUT_S = 1800.0
SUITE = """
import time, pytest

@pytest.mark.parametrize("number", range({tests}))
@pytest.mark.latency_budget(ttft_max="60 s")
def test_short(llm_client, llm_engine, number):
    with open("engines", "a") as file:
        print(*llm_engine.pids, file=file)
    assert llm_client.generate("x", max_tokens=4).text

@pytest.mark.parametrize("number", range({tests}))
def test_without_engine(number):
    time.sleep({work})
"""
ALONE = """
import pytest

@pytest.hookimpl(trylast=True, optionalhook=True)
def pytest_configure_node(node):
    node.workerinput.pop("llmperf_run", None)
"""


class Bench:
    """Runs the suite in a folder of its own."""

    def __init__(self, folder: Path, options: list[str], tests: int) -> None:
        self._folder = folder
        self._options = options
        self._tests = tests
        (folder / "test_it.py").write_text(SUITE.format(tests=tests, work=0.05), encoding="utf-8")

    def run(self, workers: int, *, shared: bool) -> tuple[float, int]:
        """Seconds of the whole run, and how many engines were started in it."""
        (self._folder / "conftest.py").write_text("" if shared else ALONE, encoding="utf-8")
        engines = self._folder / "engines"
        engines.unlink(missing_ok=True)
        begun = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"-n{workers}", *self._options]
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
        seconds = time.monotonic() - begun
        if done.returncode != 0 or f"{2 * self._tests} passed" not in done.stdout:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return seconds, len(set(engines.read_text(encoding="utf-8").split()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", default="10s", help="how long the engine takes to start")
    parser.add_argument("--tests", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    asked, options = parser.parse_known_args()
    if not options:
        options = ["--llm-engine=simulated", f"--llmperf-engine-arg=startup_time={asked.load}"]
    times: dict[tuple[int, bool], list[float]] = {}
    starts: dict[tuple[int, bool], int] = {}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), options, asked.tests)
        for _ in range(asked.rounds):
            for workers in (1, 2, 4):
                for shared in (True, False):
                    seconds, starts[workers, shared] = bench.run(workers, shared=shared)
                    times.setdefault((workers, shared), []).append(seconds)
    print(f"{os.cpu_count()} cores; {asked.tests} tests with the engine and {asked.tests} without; {' '.join(options)}")
    for workers, shared in times:
        ratio = statistics.median(a / b for a, b in zip(times[workers, shared], times[1, True], strict=True))
        how = "one engine for all" if shared else "an engine for each"
        seconds = statistics.median(times[workers, shared])
        print(
            f"{workers} workers, {how}: {seconds:6.1f} s, {ratio:.2f} × one worker, {starts[workers, shared]} started"
        )


if __name__ == "__main__":
    main()
