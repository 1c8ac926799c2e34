"""Budgets on an engine that pytest-llmperf does not bring along.

cd examples/own_engine && pytest --llm-engine=sglang:Qwen/Qwen3-0.6B
"""

import pytest


@pytest.mark.llm_engines("sglang")
@pytest.mark.memory_budget(weights="8 GiB", kv_reserved="80 GiB")
@pytest.mark.latency_budget(ttft_p50="2 s", startup="600 s")
@pytest.mark.throughput_budget(output="5 tok/s")
def test_the_median_user_does_not_wait(llm_client):
    for number in range(1, 13):
        assert llm_client.chat(f"Write one sentence about the number {number}.", max_tokens=16).text
