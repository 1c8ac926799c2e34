"""A model for embeddings is loaded, warmed up and measured, by llm_client and by an app."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.ollama.conftest import OllamaRuns

SUITE = """
import json, urllib.request

@pytest.mark.throughput_budget(inputs="0.01 inputs/s")
@pytest.mark.latency_budget(embed_max="60 s")
@pytest.mark.memory_budget(peak="4 GiB")
def test_own(llm_client):
    found = llm_client.embed(["two words", "and three words"])
    assert [len(vector) for vector in found.vectors] == [2, 2]
    assert (found.timing.inputs, found.timing.prompt_tokens) == (2, 5)

@pytest.mark.latency_budget(embed_max="60 s")
@pytest.mark.parametrize("path", ["/v1/embeddings", "/api/embed"])
def test_app(llm_client, llm_perf, path):
    root = llm_client.base_url.removesuffix("/v1")
    data = {"model": llm_client.model, "input": ["two words"]}
    urllib.request.urlopen(urllib.request.Request(root + path, json.dumps(data).encode())).close()

def test_no_text(llm_client):
    from pytest_llmperf import RequestFailed
    with pytest.raises(RequestFailed, match='"embed:tiny" does not support generate'):
        llm_client.generate("Hello")

def test_unloaded(llm_engine, llm_client):
    llm_engine.unload()
    assert llm_client.embed("again").vectors
"""


def test_a_model_for_embeddings_is_measured(ollama: OllamaRuns) -> None:
    result = ollama(SUITE, "--llmperf-strict", model="embed:tiny")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["llmperf: ollama: warmed up by one request in *", "budgets: 5 PASS"])
    result.stdout.no_fnmatch_line("*its warm-up request failed*")
