"""Limits the metrics that conftest.py registers."""

import pytest


@pytest.mark.memory_budget(mean="1 GiB")
@pytest.mark.latency_budget(longest_gap_max="1 s")
def test_an_answer_without_a_long_pause(llm_client):
    assert llm_client.generate("Count to five.", max_tokens=8).text
