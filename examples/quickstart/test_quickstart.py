"""Budgets on a small real model, on one engine or on several.

pytest examples/quickstart --llm-engine=llamacpp
pytest examples/quickstart --llm-engine=vllm:HuggingFaceTB/SmolLM2-135M-Instruct
pytest examples/quickstart --llm-engine=llamacpp --llm-engine=vllm:HuggingFaceTB/SmolLM2-135M-Instruct
"""

from __future__ import annotations

import pytest

QUESTIONS = [f"Write one sentence about the number {number}." for number in range(1, 13)]


@pytest.mark.memory_budget(peak="400 MiB", growth="16 MiB", engine="llamacpp")
@pytest.mark.memory_budget(peak="4 GiB", growth="256 MiB", kv_cache="64 MiB", required="4 GiB", engine="vllm")
@pytest.mark.throughput_budget(output="8 tok/s")
def test_one_answer_stays_inside_its_memory(llm_client):
    answer = llm_client.chat("Write one sentence about the ocean.", max_tokens=32)
    assert answer.text


@pytest.mark.latency_budget(ttft_p50="2 s", tpot_p50="250 ms", e2e_max="10 s", startup="30 s", engine="llamacpp")
@pytest.mark.latency_budget(ttft_p50="3 s", tpot_p50="500 ms", e2e_max="20 s", startup="300 s", engine="vllm")
def test_the_median_user_does_not_wait(llm_client):
    for question in QUESTIONS:
        assert llm_client.chat(question, max_tokens=8).text


@pytest.mark.memory_budget(growth="16 MiB", retained="16 MiB", engine="llamacpp")
@pytest.mark.memory_budget(growth="256 MiB", retained="256 MiB", kv_waste="90 %", engine="vllm")
@pytest.mark.throughput_budget(output="8 tok/s", requests="0.5 req/s")
def test_four_users_at_once_are_served_and_leave_nothing_behind(llm_client):
    answers = llm_client.run(QUESTIONS, concurrency=4, max_tokens=16, chat=True)
    assert all(answer.text for answer in answers)


@pytest.mark.latency_budget(ttft_max="10 s")
def test_the_prompt_is_read_before_the_answer_is_written(llm_client, llm_perf):
    with llm_perf.window("long prompt") as reading:
        llm_client.generate("The sea is blue. " * 40, max_tokens=1)
    with llm_perf.window("long answer") as writing:
        llm_client.generate("Once upon a time", max_tokens=32)
    llm_perf.record("prefill seconds", reading.seconds, "s")
    assert writing.read("throughput.output").value
