"""Run with ``--llm-engine=NAME --llmperf-report=budgets.csv``: the ``conftest.py`` beside this file writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_llmperf import LLMClient


@pytest.mark.memory_budget(peak="1 GiB")
@pytest.mark.latency_budget(e2e_max="10 s")
def test_answers(llm_client: LLMClient) -> None:
    assert llm_client.generate("Once upon a time", max_tokens=8).text
