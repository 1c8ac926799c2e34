"""What the plugin costs a suite that does not use it, beside two well-known plugins.

    pip install pytest-llmperf pytest-benchmark pytest-memray
    python benchmarks/overhead.py

CPU time (user + system) of whole pytest processes, with one plugin each and nothing else loaded. The variants run in
turn, round after round, and the ratios are taken within a round, so that a machine that drifts does not decide. First
the import by itself; then two suites: one test (the cost of a start), and 3,000 empty tests (the cost of a test without
budgets).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PLUGINS = {
    "bare pytest": None,
    "pytest-llmperf": "pytest_llmperf.plugin",
    "pytest-benchmark": "pytest_benchmark.plugin",
    "pytest-memray": "pytest_memray.plugin",
}
TESTS = 3000


def cpu_seconds(plugin: str | None, suite: Path) -> float:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(["-p", plugin] if plugin else [])]
    environ = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    process = subprocess.Popen(
        [*command, suite.name], cwd=suite.parent, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"pytest with {plugin} ended with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def measure(plugins: dict[str, str | None], suite: Path, rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in plugins}
    for number in range(rounds + 1):
        for name, plugin in plugins.items():
            seconds = cpu_seconds(plugin, suite)
            if number > 0:  # the first round fills the caches of the file system and of compiled modules
                times[name].append(seconds)
    return times


def import_seconds(plugin: str) -> float:
    """CPU time of importing a plugin into a process that has pytest already."""
    code = f"import time, pytest; t = time.process_time(); import {plugin}; print(time.process_time() - t)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout)


def show_imports(plugins: dict[str, str | None], rounds: int) -> None:
    print("\nImporting the plugin")
    times: dict[str, list[float]] = {name: [] for name, plugin in plugins.items() if plugin}
    for _ in range(rounds):
        for name in times:
            times[name].append(import_seconds(plugins[name] or name))
    ours = times["pytest-llmperf"]
    for name, seconds in times.items():
        ratio = statistics.median(a / b for a, b in zip(seconds, ours, strict=True))
        print(f"{name:18} {statistics.median(seconds) * 1e3:6.1f} ms {ratio:8.1f} times pytest-llmperf")


def show(title: str, times: dict[str, list[float]], tests: int) -> None:
    bare = times["bare pytest"]
    print(f"\n{title}\n{'':18} {'CPU':>9} {'ratio to bare':>14} {'added':>10} {'per test':>10}")
    for name, seconds in times.items():
        ratio = statistics.median(a / b for a, b in zip(seconds, bare, strict=True))
        added = statistics.median(a - b for a, b in zip(seconds, bare, strict=True))
        print(
            f"{name:18} {statistics.median(seconds) * 1e3:6.0f} ms {ratio:14.3f} {added * 1e3:7.1f} ms"
            f" {added / tests * 1e6:7.1f} µs"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    present = {name: plugin for name, plugin in PLUGINS.items() if plugin is None or importlib.util.find_spec(plugin)}
    for name in PLUGINS.keys() - present.keys():
        print(f"{name} is not installed and left out")
    show_imports(present, rounds)
    with tempfile.TemporaryDirectory() as folder:
        one, many = Path(folder) / "test_one.py", Path(folder) / "test_many.py"
        one.write_text("def test_nothing():\n    pass\n", encoding="utf-8")
        many.write_text("".join(f"def test_{number}():\n    pass\n" for number in range(TESTS)), encoding="utf-8")
        show("One test: the cost of a start", measure(present, one, rounds), 1)
        show(f"{TESTS} tests without budgets", measure(present, many, max(3, rounds // 3)), TESTS)


if __name__ == "__main__":
    main()
