"""The quickstart passes unchanged on llama.cpp, on a real vLLM, and on both in one run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.vllm_here import PYTHON, SMOLLM2

pytestmark = pytest.mark.usefixtures("vllm_installed")
ROOT = Path(__file__).parents[2]
VLLM = (f"--llm-engine=vllm:{SMOLLM2}", f"--llmperf-engine-bin=vllm:{PYTHON}")


@pytest.mark.parametrize(
    ("options", "engines"),
    [(VLLM, {"vllm"}), (("--llm-engine=llamacpp", *VLLM), {"llamacpp", "vllm"})],
    ids=["vllm", "llamacpp and vllm"],
)
def test_the_quickstart_passes_with_all_its_budgets(
    options: tuple[str, ...], engines: set[str], tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "pytest", "examples/quickstart", "-p", "no:cacheprovider", "--llmperf-strict"]
    run = subprocess.run([*command, *options, f"--llmperf-report={report}"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    tests = json.loads(report.read_text())["tests"]
    assert {test["measurement"]["engine"]["name"] for test in tests} == engines
    assert {verdict["status"] for test in tests for verdict in test["verdicts"]} == {"PASS"}
    assert len(tests) == 4 * len(engines)
