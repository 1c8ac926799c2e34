"""Budgets against earlier runs, beside budgets with a unit. The first run stores, later ones are compared with it:

pytest examples/baselines --llm-engine=llamacpp --llmperf-save
pytest examples/baselines --llm-engine=llamacpp

How much the numbers of one build differ by themselves, what each budget is worth, and which limits would fit:

pytest examples/baselines --llm-engine=llamacpp --llmperf-calibrate=10
pytest-llmperf suggest --store=examples/.llmperf --output=-
"""

from __future__ import annotations

import pytest

from pytest_llmperf import workload


@pytest.mark.memory_budget(peak=("8 GiB", "+10 %"))
@pytest.mark.latency_budget(ttft_p50=("10 s", "+50 %"), tpot_p50="+50 %")
def test_one_after_another(llm_client):
    for _ in range(12):
        assert llm_client.generate("Explain paged attention.", max_tokens=8).text


@pytest.mark.throughput_budget(output="-30 %")
def test_four_users_at_once(llm_client):
    result = llm_client.run(workload(prompt_tokens=16, output_tokens=16, requests=40, seed=1), concurrency=4)
    assert result.load.full_answers == 40
