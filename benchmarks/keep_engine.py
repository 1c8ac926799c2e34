"""How soon a test starts on an engine that was kept, beside one that must be started: ``--llmperf-keep-engine``.

    python benchmarks/keep_engine.py --engine=llamacpp
    python benchmarks/keep_engine.py --engine=vllm --model=/path/to/model --arg=enforce_eager=true

The time from the start of the pytest process to the first line of the first test, by the clock that all processes of a
host share. Cold and warm runs alternate, round after round, and the ratio is taken within a round, so that a machine
that drifts does not decide. The third row is the same suite without an engine: what pytest itself takes.
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

TEST = """
import time

def test_first({fixtures}):
    with open("began", "w") as file:
        file.write(str(time.monotonic()))
"""
_TIMEOUT_S = 1800.0
KEPT_SECONDS = 600


class Bench:
    """Runs one test in a folder of its own; engines are kept there, apart from those of the user."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self._folder = folder
        self._options = options
        # Without compiled modules every start of pytest would compile its plugins first.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._environ = inherited | {"TMPDIR": str(folder)}

    def seconds(self, *, engine: bool) -> float:
        """From the start of pytest to the start of its first test."""
        (self._folder / "test_it.py").write_text(TEST.format(fixtures="llm_client" if engine else ""), encoding="utf-8")
        options = [*self._options, f"--llmperf-keep-engine={KEPT_SECONDS}"] if engine else []
        began = time.monotonic()
        self._run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_it.py"])
        return float((self._folder / "began").read_text(encoding="utf-8")) - began

    def stop_engines(self) -> None:
        self._run([sys.executable, "-m", "pytest_llmperf", "engines", "stop"])

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}\n{done.stdout}{done.stderr}")


def measure(bench: Bench, rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"cold": [], "warm": [], "no engine": []}
    bench.seconds(engine=False)  # fills the caches of the file system and of compiled modules
    for _ in range(rounds):
        try:
            times["cold"].append(bench.seconds(engine=True))
            times["warm"].append(bench.seconds(engine=True))
        finally:
            bench.stop_engines()
        times["no engine"].append(bench.seconds(engine=False))
    return times


def show(engine: str, times: dict[str, list[float]]) -> None:
    print(f"{engine}: start of pytest to start of the first test, {len(times['cold'])} rounds, medians")
    for name, seconds in times.items():
        ratio = statistics.median(cold / own for cold, own in zip(times["cold"], seconds, strict=True))
        print(f"{name:10} {statistics.median(seconds):8.2f} s   cold takes {ratio:6.1f} times as long")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="simulated", help="name of the engine, as for --llm-engine")
    parser.add_argument("--model", help="as for --llmperf-model")
    parser.add_argument("--arg", action="append", default=[], metavar="KEY=VALUE", help="as for --llmperf-engine-arg")
    parser.add_argument("--bin", help="as for --llmperf-engine-bin")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    options = [f"--llm-engine={asked.engine}", *(f"--llmperf-engine-arg={text}" for text in asked.arg)]
    options += [f"--llmperf-model={asked.model}"] if asked.model else []
    options += [f"--llmperf-engine-bin={asked.bin}"] if asked.bin else []
    with tempfile.TemporaryDirectory() as folder:
        show(asked.engine, measure(Bench(Path(folder), options), asked.rounds))


if __name__ == "__main__":
    main()
