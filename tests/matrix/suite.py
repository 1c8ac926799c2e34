"""The suite that the matrix disturbs: it tells its moment by a file, and waits there until the signal was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.matrix.cases import Case

# The variable by which all processes of a trial are known; its value is the folder of the trial.
MARK = "LLMPERF_MATRIX_TRIAL"
TOLD, GO, REPORT = "told", "go", "report.json"

CONFTEST = """
import os
import time
from pathlib import Path

import pytest

from pytest_llmperf.engines.lifecycle.server_process import ServerProcess

TRIAL = Path(os.environ["LLMPERF_MATRIX_TRIAL"])

def tell(moment):
    if moment != os.environ["LLMPERF_MATRIX_MOMENT"]:
        return
    try:
        (TRIAL / "told").touch(exist_ok=False)
    except FileExistsError:
        return
    deadline = time.monotonic() + 300
    while not (TRIAL / "go").exists():
        assert time.monotonic() < deadline, "no signal was sent"
        time.sleep(0.01)

@pytest.fixture
def at():
    yield tell
    tell("teardown")

@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        tell("end")

detach = ServerProcess.detach

def detach_and_tell(*arguments):
    tell("hand-over")
    return detach(*arguments)

ServerProcess.detach = detach_and_tell
"""

TESTS = """
import json
import os
import urllib.request

import pytest

from pytest_llmperf import latency_budget, memory_budget, workload

BODY = {"prompt": "a story", "stream": True, "max_tokens": 48, "temperature": 0}

@pytest.mark.parametrize("number", range(NUMBER))
@memory_budget(peak=PEAK)
@latency_budget(e2e_max=LATENCY)
def test_app(llm_client, at, number):
    url = llm_client.base_url
    at("before")
    if os.environ["LLMPERF_MATRIX_MOMENT"] in ("closed", "open"):
        requests = workload(prompt_tokens=8, output_tokens=TOKENS, requests=REQUESTS, seed=1)
        llm_client.run(requests, **LOAD)
        return
    body = json.dumps(BODY | {"model": llm_client.model}).encode()
    call = urllib.request.Request(url + "/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(call, timeout=120) as answer:
        answer.readline()
        at("stream")
        answer.read()
"""
_ENGINE_ARGUMENTS = {
    "simulated": ("ttft=50 ms", "tpot=20 ms", "startup_time=3 s"),
    "llamacpp": ("ctx_size=2048",),
    "vllm": ("kv_cache=64 MiB", "enforce_eager=true", "max_model_len=512"),
}
_TOKENS = {"simulated": 24, "llamacpp": 96, "vllm": 24}


def write_tests(case: Case) -> str:
    """The text of the test file."""
    is_pair = case.mode == "ab"
    load = {"rate": "8/s", "arrival": "constant"} if case.moment == "open" else {"concurrency": 4}
    values = {
        "NUMBER": 2 if case.mode == "n2" else 1,
        "PEAK": "+90 %" if is_pair else "64 GiB",
        "LATENCY": "20 min",
        "TOKENS": _TOKENS[case.engine],
        "REQUESTS": 16 if is_pair else 40,
        "LOAD": load,
    }
    return "".join(f"{name} = {value!r}\n" for name, value in values.items()) + TESTS


def list_options(case: Case, model: str = "") -> list[str]:
    """The options of pytest; ``model`` is that of vLLM."""
    engine = f"{case.engine}:{model}" if model else case.engine
    engines = [f"--llm-engine={engine}"]
    if case.mode == "ab":
        engines = [f"--llm-engine=new={engine}", f"--llm-engine=old={engine}", "--llmperf-against=old"]
    arguments = [f"--llmperf-engine-arg={text}" for text in _ENGINE_ARGUMENTS[case.engine]]
    modes = {"n2": ["-n2"], "keep": ["--llmperf-keep-engine=2"]}
    common = ["-p", "no:cacheprovider", "--tb=short", "--llmperf-strict", f"--llmperf-report={REPORT}"]
    return [*common, *engines, *arguments, *modes.get(case.mode, [])]
