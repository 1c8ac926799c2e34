"""A test with several engines: requests, memory and budgets of each, and both side by side in the reports."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from typing import Any

    from tests.conftest import Runs

PAIR = """
@pytest.fixture(scope="session")
def checker(llm_engine_factory):
    return llm_engine_factory("simulated", model="small", args={"ttft": "1 ms", "tpot": "1 ms", "memory": "16 MiB"})

{markers}
def test_pair(llm_client, llm_client_factory, llm_perf, checker):
    small = llm_client_factory(checker)
    with llm_perf.window("draft") as draft:
        assert small.generate("x", max_tokens=3).text
    with llm_perf.window("answer") as answer:
        for _ in range(2):
            assert llm_client.generate("x", max_tokens=8).text
    assert llm_perf.read("throughput.output", engine="*:small").value > 0
    assert draft.read("throughput.output", engine="simulated:large").value is None
    assert answer.read("latency.ttft_max", engine="simulated:large").value > 0
"""
OPTIONS = ("--llmperf-model=large", "--llmperf-report=out.json")


def pair(markers: str) -> str:
    return PAIR.replace("{markers}", markers)


def measured(pytester: pytest.Pytester) -> dict[str, Any]:
    (test,) = read_report(pytester.path / "out.json")["tests"]
    found: dict[str, Any] = test["measurement"]
    return found


def test_each_engine_has_its_own_requests_and_memory(runs: Runs, pytester: pytest.Pytester) -> None:
    runs(pair(""), *OPTIONS, memory="64 MiB").assert_outcomes(passed=1)
    whole = measured(pytester)
    parts = {part["engine"]["model"]: part for part in whole["parts"]}
    assert {model: part["requests"]["tokens"]["output"] for model, part in parts.items()} == {"large": 16, "small": 3}
    assert whole["requests"]["tokens"]["output"] == 19
    peaks = {model: part["memory"]["peak_bytes"] for model, part in parts.items()}
    assert peaks["large"] - peaks["small"] > 32 * 2**20
    assert whole["memory"]["peak_bytes"] == pytest.approx(sum(peaks.values()), rel=0.02)


def test_a_budget_that_names_an_engine_is_held_against_it_alone(runs: Runs) -> None:
    markers = """
@pytest.mark.memory_budget(peak="2 GiB")
@pytest.mark.memory_budget(peak="1 GiB", engine="simulated:large")
@pytest.mark.memory_budget(peak="1 MiB", engine="*:small")
@pytest.mark.throughput_budget(output="1 tok/s", engine="vllm")
"""
    result = runs(pair(markers), *OPTIONS)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "simulated:small: memory.peak * FAIL",
            "memory.peak *≤ 2 GiB * PASS",
            "simulated:large: memory.peak * PASS",
            "FAILED *::test_pair - BudgetExceeded: simulated:small: memory.peak * > 1 MiB *",
        ]
    )
    # Where lines are broken depends on the name of the processor.
    table = " ".join(result.stdout.str().split())
    sides = r"engine simulated 1, large, .*; 2 sent, 0 failed, .* simulated 1, small, .*; 1 sent, 0 failed, "
    assert re.search(sides, table)


def test_budgets_for_no_engine_of_the_test_are_no_budget(runs: Runs) -> None:
    marker = '@pytest.mark.memory_budget(peak="1 GiB", engine="vllm")'
    result = runs(pair(marker), *OPTIONS, "--llmperf-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no budget for simulated*; the budgets of this test are for engine='vllm'*"])


def test_both_stand_side_by_side_at_the_end_and_in_markdown(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(pair(""), *OPTIONS, "--llmperf-report=out.md")
    result.stdout.fnmatch_lines(
        [
            "1 test on 2 engines, each value beside its multiple of that of simulated:large:",
            "  throughput.output * tok/s * tok/s [×!]*",
        ]
    )
    text = (pytester.path / "out.md").read_text(encoding="utf-8")
    assert "| test | metric | simulated:large | simulated:small |" in text
    assert "| `test_it.py::test_pair` | `memory.peak` |" in text


def test_the_memory_that_is_left_of_one_engine_is_its_own(runs: Runs, pytester: pytest.Pytester) -> None:
    source = """
    @pytest.mark.memory_budget(unloaded="40 MiB", engine="simulated:large")
    def test_unloaded(llm_client, llm_engine, llm_client_factory, llm_engine_factory):
        other = llm_engine_factory("simulated", model="small", args={"memory": "64 MiB"})
        assert llm_client_factory(other).generate("x", max_tokens=2).text
        assert llm_client.generate("x", max_tokens=2).text
        llm_engine.unload()
    """
    runs(source, *OPTIONS, "--llmperf-strict", memory="64 MiB").assert_outcomes(passed=1)
    whole = measured(pytester)
    left = {part["engine"]["model"]: part["readings"].get("memory.unloaded") for part in whole["parts"]}
    assert left["large"]["value"] < 40 * 2**20
    assert left["small"] is None
    assert whole["readings"]["memory.unloaded"]["value"] > 100 * 2**20


def test_an_app_may_call_both_and_each_call_goes_to_its_engine(runs: Runs, pytester: pytest.Pytester) -> None:
    source = """
    import json, urllib.request

    def ask(client, tokens):
        body = json.dumps({"model": client.model, "prompt": "x", "max_tokens": tokens}).encode()
        request = urllib.request.Request(f"{client.base_url}/completions", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request).read()

    def test_app(llm_client, llm_client_factory, llm_engine_factory):
        ask(llm_client, 5)
        ask(llm_client_factory(llm_engine_factory("simulated", model="small")), 3)
    """
    runs(source, *OPTIONS).assert_outcomes(passed=1)
    tokens = {p["engine"]["model"]: p["requests"]["tokens"]["output"] for p in measured(pytester)["parts"]}
    assert tokens == {"large": 5, "small": 3}
