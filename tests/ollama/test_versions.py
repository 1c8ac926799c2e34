"""What differs between versions of Ollama: the runner, what it counts of a prompt, what its times mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.ollama.conftest import OllamaRuns

SUITE = """
@pytest.mark.memory_budget(kv_reserved="180 MiB", kv_cache="1 MiB", kv_waste="100 %")
@pytest.mark.throughput_budget(output="1 tok/s")
def test_fresh(llm_client):
    llm_client.generate("Hello there", max_tokens=32)

@pytest.mark.throughput_budget(output="1 tok/s")
def test_loaded_anew(llm_client, llm_engine):
    llm_engine.deployment._api.start_model(llm_client.model, {"num_ctx": 512}, -1, 60)
    llm_client.generate("Hello there", max_tokens=4)

@pytest.mark.throughput_budget(output="1 tok/s", total="1 tok/s")
def test_shared(llm_client):
    for _ in range(2):
        llm_client.generate("word " * 40, max_tokens=4, share_prefix=True)
"""


def test_before_0_30_the_runner_tells_nothing_and_the_server_knows_what_it_was_told(ollama: OllamaRuns) -> None:
    ollama.is_like(version="0.24.0")
    result = ollama(SUITE, num_parallel=2)
    result.assert_outcomes(passed=3)
    # Which prompts came from its cache it does not say; the test that repeats one shares it by intention.
    result.stdout.fnmatch_lines(["why: *throughput.output* INVALID: *loaded again*", "budgets: 6 PASS, 1 INVALID"])
    result.stdout.no_fnmatch_line("*decode median*")


def test_0_30_0_does_not_count_a_shared_prompt(ollama: OllamaRuns) -> None:
    ollama.is_like(version="0.30.0")
    result = ollama(SUITE, num_parallel=2)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "*test_shared *throughput.total * NOT MEASURED",
            "why: *throughput.total* NOT MEASURED: the server gave no token count (usage) for every answer; *",
            "budgets: 5 PASS, 1 NOT MEASURED, 1 INVALID",
        ]
    )
