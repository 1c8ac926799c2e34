"""A large model answers, a small one checks the answer: one test, two engines, budgets for each.

pytest examples/dev_and_prod --llm-engine=vllm:HuggingFaceTB/SmolLM2-135M-Instruct
CHECKER=ollama:smollm2:135m pytest examples/dev_and_prod --llm-engine=vllm:HuggingFaceTB/SmolLM2-135M-Instruct
pytest examples/dev_and_prod --llm-engine=llamacpp

The end of the run, and --llmperf-report=out.md, put the engines side by side.
"""

from __future__ import annotations

import pytest

QUESTION = "Why is the sea salty?"


@pytest.mark.memory_budget(peak="6 GiB")
@pytest.mark.memory_budget(peak="4 GiB", engine="vllm")
@pytest.mark.memory_budget(peak="400 MiB", engine="llamacpp")
@pytest.mark.throughput_budget(output="2 tok/s", engine="*")
@pytest.mark.latency_budget(ttft_max="20 s", startup="300 s", engine="*")
def test_an_answer_is_checked_by_a_small_model(llm_client, llm_client_factory, checker, llm_perf):
    small = llm_client_factory(checker)
    with llm_perf.window("answer") as answering:
        answer = llm_client.chat(QUESTION, max_tokens=48).text
    with llm_perf.window("check") as checking:
        verdict = small.chat(f"Answer yes or no. Is this about the sea? {answer}", max_tokens=4).text
    assert answer
    assert verdict
    llm_perf.record("share of the time spent checking", checking.seconds / (answering.seconds + checking.seconds), "1")


@pytest.mark.llm_engines("ollama", "simulated")
@pytest.mark.memory_budget(unloaded="1 GiB", engine="ollama")
@pytest.mark.memory_budget(unloaded="1 GiB", engine="simulated")
def test_the_large_model_leaves_its_memory_to_others(llm_client, llm_engine):
    assert llm_client.chat(QUESTION, max_tokens=4).text
    llm_engine.unload()
