"""Budgets for an app with a client of its own: it is given an address, and what it asks there is the test's.

pytest examples/app_under_test --llm-engine=llamacpp
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import assistant
import pytest

QUESTIONS = [f"I have ordered {count} shirts. Who pays when I send one back?" for count in range(2, 14)]


@pytest.mark.latency_budget(ttft_p50="2 s", e2e_max="10 s")
@pytest.mark.throughput_budget(output="8 tok/s")
def test_a_customer_does_not_wait_for_an_answer(llm_client):
    for question in QUESTIONS:
        assert "".join(assistant.answer(question, llm_client.base_url, llm_client.api_key, llm_client.model))


@pytest.mark.latency_budget(ttft_max="5 s")
def test_the_command_answers_in_a_process_of_its_own(llm_client, llm_perf):
    environ = os.environ | {"OPENAI_BASE_URL": llm_client.base_url, "OPENAI_MODEL": llm_client.model}
    command = [sys.executable, Path(assistant.__file__), "How long does a parcel take to an island?"]
    assert subprocess.check_output(command, env=environ, text=True).strip()
    (request,) = llm_perf.measurement.requests
    assert request.streamed
    assert request.output_tokens
