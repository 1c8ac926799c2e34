"""The examples pass unchanged on a real vLLM, and on llama.cpp and vLLM in one run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engines.vllm_here import PYTHON, SMOLLM2

pytestmark = pytest.mark.usefixtures("vllm_installed")
ROOT = Path(__file__).parents[2]
VLLM = (f"--llm-engine=vllm:{SMOLLM2}", f"--llmperf-engine-bin=vllm:{PYTHON}")


def run(examples: tuple[str, ...], options: tuple[str, ...], folder: Path) -> list[dict[str, Any]]:
    """Runs the examples; what the report says of each test.

    Where others use the machine the sampler may be kept from a core, which makes memory INVALID: nothing else may.
    """
    report = folder / "report.json"
    command = [sys.executable, "-m", "pytest", *examples, "-p", "no:cacheprovider", "--llmperf-no-strict"]
    run = subprocess.run([*command, *options, f"--llmperf-report={report}"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    tests: list[dict[str, Any]] = json.loads(report.read_text())["tests"]
    verdicts = [verdict for test in tests for verdict in test["verdicts"] if verdict["status"] != "PASS"]
    assert [v for v in verdicts if v["status"] != "INVALID" or not v["reason"].startswith("the sampler missed")] == []
    return tests


def test_the_quickstart_passes_on_vllm_and_a_small_llamacpp_checks_its_answers(tmp_path: Path) -> None:
    *quick, pair = run(("examples/quickstart", "examples/dev_and_prod"), VLLM, tmp_path)
    assert [test["measurement"]["engine"]["name"] for test in quick] == ["vllm"] * 4
    parts = {part["label"]: part for part in pair["measurement"]["parts"]}
    assert {label: part["requests"]["total"] for label, part in parts.items()} == {"vllm": 1, "llamacpp": 1}
    peaks = {label: part["memory"]["peak_bytes"] for label, part in parts.items()}
    assert peaks["vllm"] > 4 * peaks["llamacpp"]


def test_the_quickstart_passes_on_both_in_one_run(tmp_path: Path) -> None:
    tests = run(("examples/quickstart",), ("--llm-engine=llamacpp", *VLLM), tmp_path)
    names = sorted(test["measurement"]["engine"]["name"] for test in tests)
    assert names == ["llamacpp"] * 4 + ["vllm"] * 4
