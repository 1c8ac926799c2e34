"""All that a test may limit on Ollama, on an answer whose tokens are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conftest import ASYNCIO
from tests.ollama_double import MODEL

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs
    from tests.ollama.conftest import OllamaRuns

SUITE = """
import json, urllib.request

@pytest.mark.memory_budget(
    peak="2 GiB", growth="64 MiB", weights="93 MiB", kv_reserved="45 MiB", kv_cache="1 MiB", kv_waste="100 %"
)
@pytest.mark.throughput_budget(output="0.0001 tok/s", total="0.0001 tok/s", per_user="0.0001 tok/s")
@pytest.mark.latency_budget(ttft_max="60 s", tpot_max="60 s", itl_max="60 s", startup="60 s")
def test_budgets(llm_engine, llm_client, llm_perf):
    answer = llm_client.generate("Why is the sky blue?", max_tokens=8)
    assert (answer.finish_reason, answer.usage["completion_tokens"], answer.usage["prompt_tokens"]) == ("length", 8, 6)
    assert answer.raw["eval_count"] == 8 and answer.timing.server.decode > 0
    llm_client.chat("Why? [stop 4]", max_tokens=8)
    # 9 tokens of the template, the nonce and the prompt, 5 of the answer with its end: 14 of 23040 B each.
    assert llm_perf.read("memory.kv_cache").value == 14 * 23040
    assert llm_perf.read("memory.kv_reserved").value == 2048 * 23040
    assert [r.server.queue >= 0 for r in llm_perf.measurement.requests] == [True, True]


def test_the_app_is_given_the_openai_api_and_reloads_nothing(llm_client, llm_engine):
    before = llm_engine.deployment.look().runner
    with urllib.request.urlopen(f"{llm_client.base_url}/models") as answer:
        assert llm_client.model in [model["id"] for model in json.load(answer)["data"]]
    body = json.dumps({"model": llm_client.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2})
    with urllib.request.urlopen(urllib.request.Request(f"{llm_client.base_url}/chat/completions", body.encode())) as a:
        assert json.load(a)["usage"]["completion_tokens"] == 2
    assert llm_engine.deployment.look().runner == before


@pytest.mark.throughput_budget(output="0.0001 tok/s")
def test_requests_beside_each_other_count_their_tokens_over_the_wall_time(llm_client, llm_perf):
    answers = llm_client.run(["One", "Two", "Three", "Four"], concurrency=4, max_tokens=20)
    span = max(a.timing.end_ns for a in answers) - min(a.timing.sent_ns for a in answers)
    assert llm_perf.read("throughput.output").value == pytest.approx(80e9 / span)


@pytest.mark.memory_budget(offload="100 %")
def test_all_of_it_on_the_gpu(llm_client):
    llm_client.generate("Hello", max_tokens=2)


@pytest.mark.asyncio
@pytest.mark.latency_budget(e2e_max="60 s")
async def test_coroutines_and_whole_answers(llm_client):
    assert (await llm_client.achat("Hello", max_tokens=3)).text == "The sky is"
    assert llm_client.chat("Hello", max_tokens=3, stream=False).usage["completion_tokens"] == 3
    assert llm_client.chat("Hello", max_tokens=3, stream=False).timing.chunks == ()
"""


def test_every_budget_is_judged_and_the_app_has_its_address(ollama: OllamaRuns) -> None:
    ollama.is_like(vram=0.0)
    result = ollama(SUITE, *ASYNCIO, "--llmperf-report=out.json", num_ctx=2048)
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(
        [
            "llmperf: ollama: loading smollm2:135m-q4, num_ctx=2048",
            "llmperf: ollama: smollm2:135m-q4 loaded at http://127.0.0.1:* in * s",
            "*memory.offload * FAIL*",
            "inside *startup max *, prompt *, decode *",
            "*decode median * tok/s",
            "budgets: 15 PASS, 1 FAIL",
            "FAILED *test_all_of_it_on_the_gpu - BudgetExceeded: memory.offload 0.00 % < 100 %*",
        ]
    )


def test_a_model_that_lies_on_the_gpu_in_part_says_how_much(ollama: OllamaRuns) -> None:
    ollama.is_like(vram=0.6)
    result = ollama(
        """
        @pytest.mark.memory_budget(offload="50 %")
        def test_enough(llm_client, llm_engine):
            llm_client.generate("Hello", max_tokens=2)
            assert llm_engine.insight.computes_on_gpu

        @pytest.mark.memory_budget(offload="100 %")
        def test_not_all(llm_client):
            llm_client.generate("Hello", max_tokens=2)
        """
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["FAILED *test_not_all - BudgetExceeded: memory.offload 60.0 % < 100 %*"])


AMX = """
@pytest.mark.memory_budget(offload="1 %")
def test_offload(llm_client):
    llm_client.generate("Hello", max_tokens=2)

@pytest.mark.memory_budget(peak="1 GiB")
def test_memory(llm_client, llm_engine):
    llm_client.generate("Hello", max_tokens=2)
    assert [device.kind for device in llm_engine.devices] == ["cpu"]
"""
ALL_ON_THE_HOST = ["*FAILED *test_offload - BudgetExceeded: memory.offload 0.00 % < 1 %*"]


def test_weights_in_a_buffer_for_amx_are_the_hosts(ollama: OllamaRuns) -> None:
    ollama.is_like(amx=True)
    result = ollama(AMX)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(ALL_ON_THE_HOST)


def test_so_they_are_on_a_server_whose_log_is_not_seen(
    ollama: OllamaRuns, runs: Runs, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr("pytest_llmperf.engines.ollama.memory.has_gpu", lambda: False)
    ollama.is_like(amx=True)
    server = request.getfixturevalue("server")
    result = runs.plain(AMX, f"--llm-engine=ollama:{MODEL}", f"--llmperf-url=http://{server}")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(ALL_ON_THE_HOST)


def test_a_model_with_a_sliding_window_has_the_cache_that_its_runner_stated(ollama: OllamaRuns) -> None:
    result = ollama(
        """
        @pytest.mark.memory_budget(kv_reserved="90 MiB", kv_cache="1 MiB")
        def test_it(llm_client):
            llm_client.generate("Hello", max_tokens=2)
        """,
        model="gemma:tiny",
    )
    result.stdout.fnmatch_lines(
        [
            "why: *memory.kv_cache* NOT MEASURED: the layers of this model do not all keep a key and a value of each *",
            "budgets: 1 PASS, 1 NOT MEASURED",
        ]
    )


def test_slots_and_the_type_of_the_cache_make_what_is_reserved(ollama: OllamaRuns) -> None:
    result = ollama(
        """
        def test_reserved(llm_engine, llm_perf):
            assert llm_perf.read("memory.kv_reserved").value == 4 * 1024 * 23040 * 34 / 64
            assert llm_engine.memory().kv_reserved == 4 * 1024 * 23040 * 34 / 64
        """,
        num_ctx=1000,
        num_parallel=4,
        kv_cache_type="q8_0",
    )
    result.assert_outcomes(passed=1)
