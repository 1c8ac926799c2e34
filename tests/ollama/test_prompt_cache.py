"""The cache of a runner holds the last prompt of each slot, and is emptied by another one of a single token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.ollama.conftest import OllamaRuns

SUITE = """
from pytest_llmperf.engines.ollama.counters import Counts

@pytest.mark.throughput_budget(output="0.01 tok/s")
def test_one(llm_client, llm_engine):
    engine, prompt = llm_engine.deployment, "word " * 60
    cached = []
    for empty in (False, False, True):
        if empty:
            engine.empty_prompt_cache()
        before = Counts.of(engine.look())
        llm_client.generate(prompt, max_tokens=2, share_prefix=True)
        cached.append(Counts.of(engine.look()).since(before).cached)
    assert cached == [0, 59, 0]
"""


@pytest.mark.parametrize("slots", [1, 3])
def test_what_empties_it_is_no_load_of_others(ollama: OllamaRuns, slots: int) -> None:
    result = ollama(SUITE, "--llmperf-strict", num_parallel=slots)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["budgets: 1 PASS"])


def test_a_model_that_is_not_loaded_is_not_loaded_for_that(ollama: OllamaRuns) -> None:
    suite = """
def test_one(llm_engine):
    llm_engine.unload()
    llm_engine.deployment.empty_prompt_cache()
    assert llm_engine.deployment.look() is None
"""
    ollama(suite).assert_outcomes(passed=1)


EMPTY = """
def test_one(llm_engine):
    llm_engine.deployment.empty_prompt_cache()
"""


def test_what_keeps_more_than_the_last_prompts_says_so(ollama: OllamaRuns) -> None:
    ollama(EMPTY, cache_ram=64).stdout.fnmatch_lines(["*EngineError: it keeps old prompts (cache_ram=64)"])


def test_a_version_whose_runner_cannot_be_asked_has_its_slots_not_known(ollama: OllamaRuns) -> None:
    ollama.is_like(version="0.29.0")
    ollama(EMPTY, num_parallel=2).stdout.fnmatch_lines(["*EngineError: its slots are not known"])


def test_a_server_that_others_use_is_left_alone(server: str, runs: Runs) -> None:
    result = runs.plain(EMPTY, "--llm-engine=ollama:qwen:tiny", f"--llmperf-url=http://{server}")
    result.stdout.fnmatch_lines(["*EngineError: others use the server"])


APP = """
import json, urllib.request

def app(llm_client, prompt):
    data = {"model": llm_client.model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 2}
    request = urllib.request.Request(f"{llm_client.base_url}/chat/completions", json.dumps(data).encode())
    urllib.request.urlopen(request).close()

PROMPT = "word " * 100

@pytest.mark.latency_budget(e2e_max="60 s")
def test_twice(llm_client):
    app(llm_client, PROMPT)
    app(llm_client, PROMPT)

@pytest.mark.latency_budget(e2e_max="60 s")
def test_again(llm_client):
    app(llm_client, PROMPT)
"""


def test_an_apps_prompt_is_new_in_each_test_and_what_it_takes_from_the_cache_is_counted(
    ollama: OllamaRuns, pytester: pytest.Pytester
) -> None:
    result = ollama(APP, "--llmperf-strict", "--llmperf-report=out.json")
    result.assert_outcomes(passed=2)
    tests = read_report(pytester.path / "out.json")["tests"]
    # A prompt of 103 words in the template, of which the last one is always read.
    assert [test["measurement"]["requests"]["tokens"]["cached"] for test in tests] == [102, 0]
