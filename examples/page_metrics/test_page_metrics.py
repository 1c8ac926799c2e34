"""Budgets on what a server states on its Prometheus page; llmperf.toml says what is read there.

pytest examples/page_metrics --llm-engine=llamacpp
"""

import pytest

from pytest_llmperf import workload


@pytest.mark.throughput_budget(decode_rate="0.1 tok/s")
def test_four_users_wait_for_no_slot(llm_client):
    result = llm_client.run(workload(prompt_tokens="8-32", output_tokens=16, requests=12), concurrency=4)
    assert not result.failed
