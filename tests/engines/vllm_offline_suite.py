"""Tests that ``test_vllm_offline.py`` runs with the python of an environment that has vLLM, in one session."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.kv_cache.checkpoint import count_tensor_bytes
from pytest_llmperf.measurement.quality.comparison import QualityComparison
from pytest_llmperf.quality.comparison import compare
from pytest_llmperf.quality.probe import probe
from pytest_llmperf.quality.text import ProbeText, read_default_text
from pytest_llmperf.traffic.llm_client import RequestFailed

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.plugin.fixtures import LLMPerf
    from pytest_llmperf.traffic.llm_client import LLMClient

MIB = 1 << 20
LONG = "once upon a time " * 60


@pytest.mark.latency_budget(ttft_max="60 s", tpot_max="60 s", itl_max="60 s", startup="300 s")
@pytest.mark.throughput_budget(output="0.01 tok/s")
@pytest.mark.memory_budget(
    growth="8 GiB", retained="8 GiB", kv_cache="256 MiB", kv_reserved="256 MiB", weights="64 MiB"
)
def test_an_answer_has_a_stamp_for_each_token_and_all_budgets_are_judged(llm_client: LLMClient) -> None:
    answer = llm_client.generate("Hello there", max_tokens=16, ignore_eos=True)
    timing, metrics = answer.timing, answer.raw["metrics"]
    assert (timing.output_tokens, timing.finish_reason, timing.cached_tokens) == (16, "length", 0)
    assert sum(timing.tokens_per_chunk or ()) == 16
    assert len(timing.itl or ()) == 15
    assert timing.chunks[0].at_ns == round(metrics["first_token_ts"] * 1e9)
    assert timing.chunks[-1].at_ns == round(metrics["last_token_ts"] * 1e9)
    stamps = [timing.sent_ns, *(chunk.at_ns for chunk in timing.chunks), timing.end_ns]
    assert stamps == sorted(stamps)


def test_the_client_gives_the_answers_of_the_llm_itself(llm_client: LLMClient, vllm_llm: Any) -> None:
    from vllm import SamplingParams

    greedy = SamplingParams(temperature=0, max_tokens=12)
    [completion] = vllm_llm.generate(["The sea is"], greedy, use_tqdm=False)
    assert llm_client.generate("The sea is", max_tokens=12).text == completion.outputs[0].text
    messages = [{"role": "user", "content": "Who are you?"}]
    [conversation] = vllm_llm.chat(messages, greedy, use_tqdm=False)
    for stream in (True, False):
        answer = llm_client.chat(messages, max_tokens=12, stream=stream)
        assert answer.text == conversation.outputs[0].text
        assert answer.timing.prompt_tokens == len(conversation.prompt_token_ids)


def test_a_run_shares_the_steps_and_the_engine_counts_the_same_tokens(llm_client: LLMClient, llm_perf: LLMPerf) -> None:
    llm_client.run([f"{n} bottles" for n in range(9)], concurrency=3, max_tokens=20, ignore_eos=True)
    stats = llm_perf.measurement.engine_stats
    assert (stats["generation_tokens"], stats["requests_finished"]) == (180, 9)
    assert stats["running_peak"] == 3
    assert stats["preemptions"] == 0


def test_the_llms_own_requests_are_the_tests_and_timed_by_the_engine(vllm_llm: Any, llm_perf: LLMPerf) -> None:
    from vllm import SamplingParams

    prompts = [f"{n} bottles" for n in range(5)]
    vllm_llm.generate(prompts, SamplingParams(max_tokens=10, ignore_eos=True), use_tqdm=False)
    requests = llm_perf.measurement.requests
    assert [request.output_tokens for request in requests] == [10] * 5
    assert all(len(request.itl or ()) == 9 for request in requests)
    assert all(request.error is None and request.finish_reason == "length" for request in requests)
    assert llm_perf.measurement.engine_stats["generation_tokens"] == 50


def test_a_repeated_prompt_is_computed_afresh_unless_the_test_shares_it(llm_client: LLMClient) -> None:
    again = [llm_client.generate(LONG, max_tokens=2).timing.cached_tokens for _ in range(2)]
    shared = [llm_client.generate(LONG, max_tokens=2, share_prefix=True).timing.cached_tokens for _ in range(2)]
    assert again == [0, 0]
    assert shared[0] == 0
    assert shared[1]
    assert shared[1] % 128 == 0


def test_a_script_finds_only_what_it_has_sent_itself(vllm_llm: Any, llm_perf: LLMPerf) -> None:
    _send_twice(vllm_llm, llm_perf)


def test_its_twin_finds_no_more(vllm_llm: Any, llm_perf: LLMPerf) -> None:
    _send_twice(vllm_llm, llm_perf)


def _send_twice(vllm_llm: Any, llm_perf: LLMPerf) -> None:
    from vllm import SamplingParams

    for _ in range(2):
        vllm_llm.generate([LONG * 2], SamplingParams(max_tokens=2), use_tqdm=False)
    cold, warm = [request.cached_tokens for request in llm_perf.measurement.requests]
    assert cold == 0
    assert warm
    assert llm_perf.measurement.prompt_cache.cached_tokens == warm
    assert all(request.shared_prefix for request in llm_perf.measurement.requests)


def test_the_kv_cache_is_seen_after_each_step(llm_client: LLMClient, llm_perf: LLMPerf) -> None:
    answers = llm_client.run([LONG, LONG], concurrency=2, max_tokens=8, ignore_eos=True)
    tokens = (answers[0].timing.prompt_tokens or 0) + 8
    blocks = 2 * -(-tokens // 128)
    assert llm_perf.read("memory.kv_cache").value == blocks * MIB / 4
    assert 0 < (llm_perf.read("memory.kv_waste").value or 0) < 1


def test_it_states_its_weights_its_kv_cache_its_version_and_where_it_computes(llm_engine: Engine) -> None:
    import vllm

    memory = llm_engine.memory()
    checkpoint = count_tensor_bytes(Path(llm_engine.spec.model or ""))
    readings = {name: reading.value for name, reading in llm_engine.insight.readings().items()}
    assert readings == {"memory.weights": checkpoint["bfloat16"], "memory.kv_reserved": 256 * MIB}
    assert llm_engine.version == vllm.__version__
    assert [device.kind for device in llm_engine.devices] == ["cpu"]
    assert llm_engine.pids == (os.getpid(),)
    assert (memory.resident or 0) > 200 * MIB
    assert "runs inside pytest" in llm_engine.insight.peak_caveat
    assert llm_engine.startup_time


def test_coroutines_share_the_steps(llm_client: LLMClient) -> None:
    async def ask() -> list[str]:
        answers = await asyncio.gather(*(llm_client.agenerate("a b c", max_tokens=4) for _ in range(3)))
        return [answer.text for answer in answers]

    assert len(set(asyncio.run(ask()))) == 1


def test_what_a_server_would_refuse_is_refused(llm_client: LLMClient) -> None:
    with pytest.raises(RequestFailed, match=r"HTTP 400: .*maximum context length is 2048 tokens"):
        llm_client.generate("x " * 5000)
    with pytest.raises(RequestFailed, match=r"HTTP 400: .*temperature"):
        llm_client.generate("x", temperature=-1)
    with pytest.raises(RequestFailed, match="knows no sampling parameter tools"):
        llm_client.generate("x", tools=[])


def test_it_has_no_address_and_cannot_sleep_on_the_cpu(llm_engine: Engine, llm_client: LLMClient) -> None:
    with pytest.raises(EngineError, match="runs inside pytest and has no address"):
        _ = llm_engine.base_url
    with pytest.raises(RuntimeError, match="runs inside pytest and has no address"):
        _ = llm_client.base_url
    with pytest.raises(EngineError, match="sleep is not supported here"):
        llm_engine.sleep()


def test_the_environment_of_the_tests_is_as_it_was() -> None:
    assert os.environ.keys().isdisjoint({"VLLM_ENABLE_V1_MULTIPROCESSING", "HF_HUB_OFFLINE", "OMP_NUM_THREADS"})


def test_a_stopped_engine_gives_its_memory_back(llm_engine: Engine, llm_client: LLMClient) -> None:
    llm_client.run([LONG] * 40, concurrency=40, max_tokens=64, ignore_eos=True)
    before = llm_engine.memory().resident or 0
    llm_engine.stop()
    gc.collect()
    llm_engine.start(lambda _: None)
    llm_engine.stop()
    print("resident before and after", before // MIB, _resident() // MIB)
    assert before - _resident() > 128 * MIB


def test_the_next_test_has_a_fresh_one(llm_client: LLMClient, vllm_llm: Any) -> None:
    assert llm_client.generate("x", max_tokens=2).text
    assert vllm_llm.llm_engine is not None


def test_an_engine_that_fails_is_said(llm_client: LLMClient, llm_engine: Engine, vllm_llm: Any) -> None:
    def fail() -> NoReturn:
        raise RuntimeError("not enough memory")

    vllm_llm.llm_engine.step = fail
    with pytest.raises(RequestFailed, match=r"vllm failed: not enough memory$"):
        llm_client.generate("x")
    assert llm_engine.read_status().reason == "vllm failed: not enough memory"


def test_and_the_test_after_it_has_a_fresh_one(llm_client: LLMClient) -> None:
    assert llm_client.generate("x", max_tokens=2).text


def _resident() -> int:
    from pytest_llmperf.telemetry.sources.host import open_reader

    reader = open_reader(os.getpid())
    assert reader is not None
    return reader.read() or 0


def test_next_tokens_are_stated_without_a_server_and_repeat_exactly(llm_engine: Engine) -> None:
    text = ProbeText("8 passages", read_default_text().passages[:8])
    one, other = (probe(llm_engine.endpoint, llm_engine.dialect, text, "vllm") for _ in range(2))
    found = compare(one, other)
    assert isinstance(found, QualityComparison)
    assert (found.agreement, found.mean_divergence, found.is_identical, found.matched_by) == (1, 0, True, "ids")
    assert all(len(position.likely) == 20 for passage in one.passages for position in passage)
