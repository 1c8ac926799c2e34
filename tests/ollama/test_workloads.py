"""Prompts of a given length are counted by the runner of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs
    from tests.ollama.conftest import OllamaRuns

SUITE = """
from pytest_llmperf import workload

def test_run(llm_client):
    result = llm_client.run(workload(prompt_tokens=40, output_tokens=4, requests=6), concurrency=2)
    # The nonce before it is a word.
    assert [request.prompt_tokens for request in result.requests] == [41] * 6
"""


def test_prompts_have_the_tokens_that_were_asked_for(ollama: OllamaRuns) -> None:
    ollama(SUITE).assert_outcomes(passed=1)


def test_where_the_runner_cannot_be_asked_that_is_said(
    server: str, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_llmperf.engines.lifecycle.listeners._LOOPBACK", ())
    result = runs.plain(SUITE, "--llm-engine=ollama:qwen:tiny", f"--llmperf-url=http://{server}")
    result.stdout.fnmatch_lines(
        [
            "FAILED *ValueError: the engine could not count the tokens of a text "
            "(the runner of qwen:tiny cannot be asked from here): give workload(tokenizer=...)"
        ]
    )
