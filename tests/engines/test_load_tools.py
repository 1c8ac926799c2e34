"""examples/load_tools with the tools that CI has: a Locust script, and vLLM's own where an environment with vLLM is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_llmperf.reports.report_file import read_report
from tests.engines import vllm_here
from tests.helpers.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
# On a host that is short of cores a tool may notice its last answer late: counts are asserted, and rates shown.
AGREEMENT = "--agreement=0.9"
BROKEN = "test_a_budget_that_its_load_breaks_fails_the_test[locust]"


def find_tools() -> dict[str, Path]:
    """The folders of the tools that are here, by their commands."""
    locust = shutil.which("locust", path=os.pathsep.join([str(ROOT / ".venv-load-tools/bin"), os.environ["PATH"]]))
    found = {"locust": Path(locust).parent} if locust else {}
    return found if vllm_here.missing() else {**found, "vllm": vllm_here.PYTHON.parent}


@pytest.mark.skipif("locust" not in find_tools(), reason="no Locust: scripts/test makes .venv-load-tools")
def test_tools_and_budgets_count_the_same_and_a_broken_budget_fails(tmp_path: Path) -> None:
    tools, report = find_tools(), tmp_path / "report.json"
    environ = os.environ | {"LOAD_TOOLS": os.pathsep.join(map(str, tools.values()))}
    command = [sys.executable, "-m", "pytest", "examples/load_tools", "-p", "no:cacheprovider", "--llmperf-no-strict"]
    command += ["--llm-engine=simulated", f"--tokenizer={vllm_here.TINY}", AGREEMENT, f"--llmperf-report={report}"]
    # One tool is enough to see that a broken budget fails the test.
    command += ["-k", "locust or (vllm and under_budgets)"]
    run = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=10 * PATIENCE_S)
    assert run.returncode == 0, run.stdout
    assert f"{len(tools)} passed" in run.stdout
    assert "1 xfailed" in run.stdout
    tests = {test["nodeid"].rpartition("::")[2]: test for test in read_report(report)["tests"]}
    assert {verdict["status"] for verdict in tests[BROKEN]["verdicts"]} == {"FAIL"}
    loads = {name: test["measurement"]["loads"][0]["asked"] for name, test in tests.items()}
    assert loads["test_a_load_tool_under_budgets[locust]"] == ("208 calls of the app; a warm-up of 8 requests left out")
