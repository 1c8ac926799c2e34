"""The example of an app with its own client passes as it stands, every budget judged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_example_passes_with_all_its_budgets() -> None:
    command = [sys.executable, "-m", "pytest", "examples/app_under_test", "-p", "no:cacheprovider", "--llmperf-strict"]
    run = subprocess.run([*command, "--llm-engine=simulated"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert "budgets: 4 PASS" in run.stdout
