"""What a broken budget looks like: the model and its context need more than 64 MiB, so this test fails on purpose."""

from __future__ import annotations

import pytest


@pytest.mark.memory_budget(peak="64 MiB", growth="8 MiB")
@pytest.mark.throughput_budget(output="10 tok/s")
def test_a_language_model_fits_into_64_mib(llm_client):
    answer = llm_client.chat("Write one sentence about the ocean.", max_tokens=32)
    assert answer.text
