"""The example of a load passes scaled down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_published_workload_scaled_down_passes_on_the_simulated_engine() -> None:
    command = [sys.executable, "-m", "pytest", str(EXAMPLES / "load"), "-p", "no:cacheprovider", "--scale=0.01"]
    run = subprocess.run(
        [*command, "--llm-engine=simulated"], cwd=EXAMPLES, capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stdout
    assert "3 passed, 2 skipped" in run.stdout
