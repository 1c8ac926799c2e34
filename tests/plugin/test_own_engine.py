"""pytest_llmperf_engines: an engine of a conftest.py works as those of this package do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from tests.conftest import Runs

ROOT = Path(__file__).parents[2]
# The simulated engine under another name, asked in an API whose answers this file reads.
CONFTEST = """
from dataclasses import replace

from pytest_llmperf import HttpApi
from pytest_llmperf.engines.simulated.engine import SimulatedEngine
from pytest_llmperf.traffic.answers import openai

def read(arrival):
    answer = openai.read(arrival)
    return replace(answer, timing=replace(answer.timing, model="read by conftest.py"))

class OwnEngine(SimulatedEngine):
    name = "own"

    @classmethod
    def compose(cls, spec):
        parts = super().compose(spec)
        return parts._replace(dialect=replace(parts.dialect, api=lambda endpoint: HttpApi(endpoint.url, read=read)))

def pytest_llmperf_engines():
    return {"own": OwnEngine}
"""
SUITE = """
from pytest_llmperf import workload

@pytest.mark.llm_engines("own")
@pytest.mark.latency_budget(ttft_max="10 s", engine="own")
def test_on_it(llm_engine, llm_client):
    assert llm_engine.name == "own"
    assert llm_client.chat("Hello", max_tokens=2).timing.model == "read by conftest.py"

@pytest.mark.llm_engines("own")
def test_a_load(llm_client):
    result = llm_client.run(workload(prompt_tokens=4, output_tokens=2, requests=3), rate="100/s")
    assert {request.model for request in result.requests} == {"read by conftest.py"}

@pytest.mark.llm_engines("vllm")
def test_on_another(llm_client):
    raise AssertionError
"""


def test_an_engine_of_a_conftest_runs_is_limited_to_and_judged(runs: Runs, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    result = runs.plain(SUITE, "--llm-engine=own", "--llmperf-engine-arg=own:tpot=0 ms", "-rs")
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(
        ["llmperf: engine own (simulated)*", "budgets: 1 PASS", "SKIPPED * runs on vllm only, not on own"],
    )


def test_the_factory_starts_it_as_well(runs: Runs, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    body = """
    def test_further(llm_engine_factory):
        assert llm_engine_factory("own").info.name == "own"
    """
    runs.plain(body).assert_outcomes(passed=1)


def test_a_marker_with_an_unknown_name_tells_it_among_the_known(runs: Runs, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    result = runs('@pytest.mark.llm_engines("vlm")\ndef test_bad(llm_client): ...')
    result.stdout.fnmatch_lines(["*unknown engine 'vlm'; it is one of vllm, ollama, llamacpp, openai, simulated, own"])


def test_a_marker_that_meets_a_mistaken_engine_names_the_test(runs: Runs, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST.replace('{"own": OwnEngine}', '{"vllm": OwnEngine}'))
    result = runs.plain('@pytest.mark.llm_engines("own")\ndef test_bad(llm_client): ...')
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["test_bad: @llm_engines: the engine 'vllm' of *"])


@pytest.mark.parametrize("arguments", [("--llm-engine=own",), ("--llm-engine=own", "-n1")])
def test_a_module_that_skips_is_one_line_before_any_test(
    runs: Runs, pytester: pytest.Pytester, arguments: tuple[str, ...]
) -> None:
    pytester.makeconftest("import pytest\ndef pytest_llmperf_engines(): pytest.skip('needs a GPU')")
    result = runs.plain("def test_it(llm_client): ...", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.errlines == ["ERROR: llmperf: pytest_llmperf_engines: Skipped: needs a GPU", ""]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ('{"vllm": OwnEngine}', "*llmperf: the engine 'vllm' of conftest:OwnEngine has the name of one of pytest-llm*"),
        ('{"mine": OwnEngine}', "*llmperf: the engine 'mine' of conftest:OwnEngine has another name: 'own'"),
    ],
)
def test_a_mistake_is_one_line_before_any_test(
    runs: Runs, pytester: pytest.Pytester, returned: str, message: str
) -> None:
    pytester.makeconftest(CONFTEST.replace('{"own": OwnEngine}', returned))
    name = returned.split('"')[1]
    result = runs.plain(SUITE, f"--llm-engine={name}:m")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_the_example_runs_sglang_or_what_stands_for_it(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "pytest", "examples/own_engine", "-p", "no:cacheprovider", "--llmperf-strict"]
    options = ["--llm-engine=sglang:tiny", "--llmperf-engine-arg=mem_fraction_static=0.5", f"--llmperf-report={report}"]
    environ = os.environ | {"PYTHONPATH": f"tests/helpers/sglang_stand_in{os.pathsep}."}
    run = subprocess.run([*command, *options], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout
    assert "budgets: 5 PASS" in run.stdout
    [test] = read_report(report)["tests"]
    assert test["measurement"]["engine"]["version"] == "0.5.3"
    assert {v["metric"]: v["measured"] for v in test["verdicts"]}["memory.weights"] == 1.5 * 2**30
