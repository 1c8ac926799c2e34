"""How many requests a second an engine holds within the limits of its users, and how it does at other loads:

pytest examples/capacity --llm-engine=llamacpp --llmperf-report=capacity.html
pytest examples/capacity --llm-engine=vllm:Qwen/Qwen3-0.6B --llm-engine=ollama:qwen3:0.6b --llmperf-report=both.html

The limits here are wide, so that a laptop keeps them; yours are those of your users, and of what you pay for.
"""

from __future__ import annotations

import pytest

from pytest_llmperf import workload

QUESTIONS = workload(prompt_tokens="16-64", output_tokens=8, requests=12, seed=1)


@pytest.mark.latency_budget(ttft_p95="3 s", tpot_p50="250 ms")
@pytest.mark.throughput_budget(sustained="0.5 req/s")
def test_it_holds_half_a_request_a_second(llm_client):
    """Enough for a gate: the search ends as soon as the limit on the rate is decided."""
    found = llm_client.capacity(QUESTIONS, until="decided", max_seconds=120)
    print(f"{found.rate} req/s, from {found.low} to {found.high}; it ended because {found.ended}")


@pytest.mark.latency_budget(ttft_p50="5 s")
def test_the_curve_over_concurrency(llm_client):
    """The points are in the reports; what the budget limits is the request after them."""
    curve = llm_client.sweep(QUESTIONS, concurrency=[1, 4, 8]).curve
    assert [point.concurrency for point in curve] == [1, 4, 8]
    llm_client.run(["Write one sentence about the ocean."] * 12, max_tokens=8)
