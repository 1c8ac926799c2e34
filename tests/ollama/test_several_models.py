"""Several models share one server: memory with all of them, after one is unloaded, and after time has run out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    import pytest

    from tests.ollama.conftest import OllamaRuns

THREE = """
MODELS = ("smollm2:135m-q4", "qwen:tiny", "gemma:tiny")

@pytest.fixture(scope="module")
def engines(llm_engine_factory):
    return [llm_engine_factory("ollama", model=name, args=ARGS) for name in MODELS]
"""


def suite(ollama: OllamaRuns, body: str, **arguments: object) -> str:
    asked = {"models_dir": str(ollama.models), **arguments}
    return f"import time\n\nARGS = {asked!r}\n{THREE}\n{body}"


def test_one_that_asks_nothing_of_the_server_shares_the_one_that_runs(ollama: OllamaRuns) -> None:
    body = """
def test_shared(llm_engine, llm_engine_factory):
    assert llm_engine_factory("ollama", model="qwen:tiny").pids == llm_engine.pids
    other = llm_engine_factory("ollama", model="qwen:tiny", args={**ARGS, "num_parallel": 2})
    assert other.pids != llm_engine.pids
"""
    ollama(suite(ollama, body)).assert_outcomes(passed=1)


def test_three_models_are_one_server_and_each_gives_its_memory_back(ollama: OllamaRuns) -> None:
    body = """
@pytest.mark.memory_budget(peak="2 GiB")
def test_one_server(engines, llm_engine_factory, llm_perf):
    assert len({engine.pids for engine in engines}) == 1
    assert [engine.memory().weights for engine in engines] == [96576768] * 3
    assert not any(engine.read_status().state.value == "ended" for engine in engines)

@pytest.mark.memory_budget(unloaded="2 GiB")
def test_unloaded(engines, llm_engine_factory, llm_perf):
    full = llm_perf.read("memory.peak").value
    engines[1].unload()
    after_one = llm_perf.read("memory.unloaded").value
    assert full - after_one > 20 * 2**20
    assert not any(engine.read_status().state.value == "ended" for engine in engines)
    engines[0].unload()
    engines[2].unload()
    assert after_one - llm_perf.read("memory.unloaded").value > 40 * 2**20

def test_it_is_loaded_again_for_whoever_asks(engines, llm_engine_factory):
    again = llm_engine_factory("ollama", model="qwen:tiny", args=ARGS)
    assert again is engines[1]
    assert again.deployment.look() is not None
    assert engines[0].deployment.look() is None
"""
    result = ollama(suite(ollama, body))
    result.assert_outcomes(passed=3)
    assert str(result.stdout).count("the server ready") == 1
    result.stdout.fnmatch_lines(
        ["llmperf: ollama was left without qwen:tiny; loading it again", "budgets: 2 PASS"], consecutive=False
    )


def test_a_model_that_the_server_puts_out_for_another_is_named(
    ollama: OllamaRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_MAX_LOADED_MODELS", "2")
    body = """
@pytest.mark.memory_budget(peak="2 GiB")
def test_evicted(engines, llm_engine_factory):
    pass
"""
    result = ollama(suite(ollama, body), "--llmperf-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["memory.peak INVALID: the server has unloaded smollm2:135m-q4 by itself and holds qwen:tiny, gemma:tiny*"]
    )


def test_a_model_that_comes_back_for_another_request_was_loaded_anew(
    ollama: OllamaRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_MAX_LOADED_MODELS", "2")
    body = """
import json, urllib.request

@pytest.mark.memory_budget(peak="2 GiB")
def test_in_turn(engines, llm_engine_factory):
    # The third has put out the first, which now puts out the second.
    body = {"model": engines[0].model, "prompt": "Hi", "stream": False, "options": {"num_predict": 2}}
    url = engines[0].base_url.removesuffix("/v1") + "/api/generate"
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode())).close()
"""
    result = ollama(suite(ollama, body), "--llmperf-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "memory.peak INVALID: the server has unloaded qwen:tiny by itself and holds *; "
            "smollm2:135m-q4 was not loaded when the test began, and a request had to wait for it"
        ]
    )


def test_models_that_have_to_take_turns_are_loaded_again_and_that_is_counted(
    ollama: OllamaRuns, pytester: pytest.Pytester
) -> None:
    ollama.is_like(startup_seconds=0.3)
    body = """
@pytest.mark.throughput_budget(output="0.01 tok/s")
@pytest.mark.latency_budget(e2e_max="60 s")
@pytest.mark.parametrize("number", range(2))
def test_in_turn(engines, llm_client_factory, number):
    clients = [llm_client_factory(engine) for engine in engines[:2]]
    for client in clients * 2:
        client.chat("Hello", max_tokens=2)

@pytest.mark.throughput_budget(output="0.01 tok/s")
def test_app(engines, llm_client_factory):
    for client in [llm_client_factory(engine) for engine in engines[:2]]:
        body = {"model": client.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
        request = urllib.request.Request(f"{client.base_url}/chat/completions", json.dumps(body).encode())
        urllib.request.urlopen(request).close()
"""
    result = ollama(
        f"import json, urllib.request\n{suite(ollama, body, max_loaded_models=1)}",
        "--llmperf-strict",
        "--llmperf-report=out.json",
        max_loaded_models=1,
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["llmperf: ollama: the server holds 1 model at a time (max_loaded_models=1), and this run uses 2: *"],
    )
    tests = read_report(pytester.path / "out.json")["tests"]
    loads = [part.get("engine_stats", {}).get("model_loads") for test in tests for part in test["measurement"]["parts"]]
    # The OpenAI API does not state how long a request waited, which is not the same as no wait.
    assert loads == [2, 2, 0] * 2 + [None, None, 0]


def test_one_model_by_two_names_is_shared_and_is_not_others(ollama: OllamaRuns) -> None:
    body = """
import json, urllib.request

def test_shared(llm_engine, llm_client, llm_engine_factory, llm_client_factory):
    data = json.dumps({"source": "smollm2:135m-q4", "destination": "alias"}).encode()
    urllib.request.urlopen(llm_client.base_url.removesuffix("/v1") + "/api/copy", data).close()
    other = llm_engine_factory("ollama", model="alias")
    assert other.deployment.look().runner == llm_engine.deployment.look().runner

@pytest.mark.throughput_budget(output="0.01 tok/s")
def test_both(llm_engine, llm_client, llm_engine_factory, llm_client_factory):
    other = llm_engine_factory("ollama", model="alias")
    assert llm_client.chat("Hello", max_tokens=3).text
    assert llm_client_factory(other).chat("Hello", max_tokens=5).text
"""
    result = ollama(f"import pytest\n{body}", "--llmperf-strict")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["budgets: 1 PASS"])


def test_a_model_whose_time_runs_out_has_a_level_without_it_and_is_no_fault(ollama: OllamaRuns) -> None:
    result = ollama(
        """
        @pytest.mark.memory_budget(unloaded="2 GiB")
        def test_unloaded(llm_engine, llm_client, llm_perf):
            llm_client.generate("Hello", max_tokens=2)
            llm_engine.wait_until_unloaded(30)
            assert llm_perf.read("memory.peak").value - llm_perf.read("memory.unloaded").value > 20 * 2**20

        def test_loaded_again(llm_engine):
            assert llm_engine.deployment.look() is not None
        """,
        keep_alive="500ms",
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["llmperf: ollama was left without *; loading it again", "budgets: 1 PASS"])


def test_restarting_one_of_several_leaves_the_others_alone(ollama: OllamaRuns) -> None:
    body = """
def test_restart(engines, llm_engine_factory):
    before = [engine.deployment.look().runner.pid for engine in engines]
    engines[0].restart()
    after = [engine.deployment.look().runner.pid for engine in engines]
    assert after[0] != before[0]
    assert after[1:] == before[1:]
    assert len({engine.pids for engine in engines}) == 1
"""
    ollama(suite(ollama, body)).assert_outcomes(passed=1)
