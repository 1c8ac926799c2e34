"""pytest --llm-engine=vllm, from its first line to its last, on a real vLLM."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pytest_llmperf.reports.report_file import read_report
from tests.engines.vllm_here import PYTHON, SMALL_POOL, TINY, shared_files
from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Runs

pytestmark = pytest.mark.usefixtures("vllm_installed")
OPTIONS = ["--llm-engine=vllm", f"--llmperf-engine-bin=vllm:{PYTHON}"]

SOURCE = """
import os, signal
import psutil

PROMPT = "The budget of a test says how much memory an engine may take while the test runs, and how long. "

@pytest.fixture(scope="session")
def llm_engine_args():
    return {"kv_cache": "8 MiB", "block_size": 32, "max_model_len": 2048, "enforce_eager": True}

@pytest.mark.memory_budget(
    peak="4 GiB", kv_cache="8 MiB", kv_reserved="8 MiB", weights="6 MiB", required="4 GiB", kv_waste="60 %"
)
@pytest.mark.latency_budget(ttft_max="60 s", startup="300 s")
@pytest.mark.throughput_budget(output="1 tok/s", total="1 tok/s")
def test_inside_its_budgets(llm_client, llm_perf):
    llm_client.run([f"{n} {PROMPT}" for n in range(16)], concurrency=16, max_tokens=400, ignore_eos=True)
    assert llm_perf.measurement.engine_stats["preemptions"] >= 1
    assert llm_perf.read("memory.kv_cache").value > 7 * 2**20

@pytest.mark.memory_budget(kv_cache="64 KiB")
def test_beyond_its_kv_cache(llm_client):
    llm_client.generate(PROMPT, max_tokens=1000, ignore_eos=True)

@pytest.mark.latency_budget(ttft_max="60 s", tpot_max="60 s")
def test_a_prefix_that_nobody_asked_to_share(llm_client):
    for _ in range(2):
        llm_client.generate(2 * PROMPT, max_tokens=8, ignore_eos=True, cache_salt=None)

@pytest.mark.latency_budget(ttft_max="60 s")
def test_a_prefix_that_the_test_shares(llm_client):
    answers = [llm_client.generate(2 * PROMPT, max_tokens=8, ignore_eos=True, share_prefix=True) for _ in "ab"]
    assert answers[-1].timing.cached_tokens

@pytest.mark.throughput_budget(output="1 tok/s")
def test_the_engine_dies_in_the_middle(llm_engine, llm_client):
    for child in psutil.Process(llm_engine.pids[0]).children(recursive=True):
        if child.name().startswith("VLLM::EngineCor"):
            llm_client.generate(PROMPT, max_tokens=8, ignore_eos=True)
            child.kill()
    with pytest.raises(Exception):
        llm_client.generate(PROMPT, max_tokens=1000, ignore_eos=True)

@pytest.mark.throughput_budget(output="1 tok/s")
def test_the_next_one_has_a_fresh_engine(llm_client):
    llm_client.generate(PROMPT, max_tokens=8, ignore_eos=True)
"""


def verdicts(report: Path) -> dict[str, dict[str, Any]]:
    """By test, the verdict of each budget."""
    tests = read_report(report)["tests"]
    return {
        test["nodeid"].partition("::")[2]: {verdict["name"]: verdict for verdict in test["verdicts"]} for test in tests
    }


def statuses(found: dict[str, Any]) -> dict[str, str]:
    return {name: verdict["status"] for name, verdict in found.items()}


def test_a_session_measures_judges_and_survives_a_crash(runs: Runs, pytester: pytest.Pytester) -> None:
    options = [*OPTIONS, f"--llmperf-model={TINY}", "--llmperf-report=out.json"]
    runs.write(SOURCE)
    result = pytester.runpytest_subprocess(*options)
    found = verdicts(pytester.path / "out.json")

    inside = statuses(found["test_inside_its_budgets"])
    # On a busy machine the sampler may miss some of it, and says so.
    sampled = {inside.pop("memory.peak"), inside.pop("memory.required")}
    assert sampled <= {"PASS", "INVALID"}
    assert set(inside.values()) == {"PASS"}

    assert statuses(found["test_beyond_its_kv_cache"]) == {"memory.kv_cache": "FAIL"}
    result.stdout.fnmatch_lines(["*inside    prompt tokens *, generation tokens 1000, preemptions 0, *"])

    unasked = found["test_a_prefix_that_nobody_asked_to_share"]
    assert statuses(unasked) == {"latency.ttft_max": "INVALID", "latency.tpot_max": "PASS"}
    assert (
        "1 of 2 requests took 32 prompt tokens from a cache, which the test did not ask for"
        in unasked["latency.ttft_max"]["reason"]
    )
    assert statuses(found["test_a_prefix_that_the_test_shares"]) == {"latency.ttft_max": "PASS"}

    died = found["test_the_engine_dies_in_the_middle"]["throughput.output"]
    assert died["status"] == "INVALID"
    assert died["reason"].startswith("vllm ")
    assert statuses(found["test_the_next_one_has_a_fresh_engine"]) == {"throughput.output": "PASS"}
    result.stdout.fnmatch_lines(["llmperf: vllm *; starting it again"])
    result.assert_outcomes(passed=5, failed=1)


ENDLESS = """
import psutil

def test_endless(llm_engine, llm_client):
    root = psutil.Process(llm_engine.pids[0])
    with open("family.tmp", "w") as file:
        print(root.parent().pid, root.pid, *(child.pid for child in root.children(recursive=True)), file=file)
    __import__("os").rename("family.tmp", "family")
    while True:
        llm_client.generate("x", max_tokens=2000, ignore_eos=True)
"""


def test_nothing_of_it_outlives_a_killed_pytest(runs: Runs, pytester: pytest.Pytester) -> None:
    runs.write(ENDLESS)
    arguments = [f"--llmperf-engine-arg={key}={value}" for key, value in SMALL_POOL.items()]
    command = [sys.executable, "-m", "pytest", *OPTIONS, f"--llmperf-model={TINY}", *arguments]
    with _process(command) as process:
        family = pytester.path / "family"
        until(lambda: family.exists() or process.poll() is not None, patience_s=600)
        pids = [int(pid) for pid in family.read_text(encoding="utf-8").split()]
        assert len(pids) >= 4
        shared = shared_files(pids)
        assert shared
        process.kill()
        process.wait(PATIENCE_S)
        until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
        assert not [path for path in shared if path.exists()]


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
