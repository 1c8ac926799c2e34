"""The examples that need no model pass as they stand, every budget judged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("example", "budgets"),
    [("app_under_test", 4), ("load", 10), ("dev_and_prod", 8), ("own_metric", 2), ("rag_app", 8), ("capacity", 2)],
)
def test_the_example_passes_with_all_its_budgets(example: str, budgets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECKER", "simulated:small")
    command = [sys.executable, "-m", "pytest", f"examples/{example}", "-p", "no:cacheprovider", "--llmperf-strict"]
    settings = ["--llm-engine=simulated", "--llmperf-engine-arg=tpot=2 ms"]
    run = subprocess.run([*command, *settings], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stdout
    assert f"budgets: {budgets} PASS" in run.stdout


def test_the_decision_table_runs_dry() -> None:
    command = [sys.executable, "-m", "pytest", "examples/decision_table", "-p", "no:cacheprovider"]
    command += [
        "--llm-engine=simulated",
        "--llmperf-no-strict",
        "--comparison-scale=0.001",
        "--llmperf-engine-arg=tpot=1 ms",
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stdout
    assert "7 passed" in run.stdout
    # What only a real engine states of itself has no number.
    assert "budgets: 22 PASS, 10 NOT MEASURED" in run.stdout


def test_the_example_of_baselines_is_compared_with_its_first_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "examples/baselines", "-p", "no:cacheprovider", "--llmperf-strict"]
    command += ["--llm-engine=simulated", "--llmperf-engine-arg=tpot=2 ms", f"--llmperf-store={tmp_path}"]
    for options in (["--llmperf-save"], ["--llmperf-session-noise=5%"]):
        run = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=240)
        assert run.returncode == 0, run.stdout
        assert "budgets: " in run.stdout
        assert ("NO BASELINE" in run.stdout) is ("--llmperf-save" in options)
