"""A published comparison of vLLM and Ollama as tests, with what it left out: docs/published-comparison.md.

It runs on any two engines, or on two variants of one. Two quantisations on llama.cpp, and the same beside vLLM:

Q8_0=$(python examples/decision_table/quantise.py Q8_0)
pytest examples/decision_table --llm-engine=q8=llamacpp:$Q8_0 --llm-engine=q4=llamacpp --llmperf-report=table.html
pytest examples/decision_table --llm-engine=llamacpp --llm-engine=vllm:HuggingFaceTB/SmolLM2-135M-Instruct

--comparison-scale=1 is all of the published workload. A dry run, without a model, takes seconds:

pytest examples/decision_table --llm-engine=simulated --llmperf-no-strict
"""

from __future__ import annotations

import pytest

from pytest_llmperf import workload

# From so many requests on a p99 is known; a shorter run has its largest latency, which is no less.
ENOUGH_FOR_P99 = 662


@pytest.fixture
def published(comparison):
    """Distinct prompts and answers of one length, as the publication describes them."""
    return workload(
        prompt_tokens=comparison.prompt_tokens,
        output_tokens=comparison.output_tokens,
        requests=comparison.requests,
        seed=1,
    )


@pytest.mark.memory_budget(peak="4 GiB", weights="1 GiB", kv_cache="512 MiB", kv_reserved="1 GiB", kv_waste="99 %")
@pytest.mark.throughput_budget(output="2 tok/s", requests="0.05 req/s")
@pytest.mark.latency_budget(ttft_p50="60 s", tpot_p50="1 s")
@pytest.mark.cost_budget(per_million_output="20 $")
@pytest.mark.parametrize("concurrency", [1, 8])
def test_memory_and_throughput(llm_client, published, check_lengths, concurrency):
    """The publication asked vLLM all at once and Ollama one by one: here both are asked in both ways."""
    result = llm_client.run(published, concurrency=concurrency)
    check_lengths(result)


@pytest.mark.latency_budget(ttft_p50="120 s", e2e_max="300 s")
def test_latency_at_a_fixed_rate(llm_client, llm_perf, published, check_lengths, comparison):
    """An open loop of 50 requests a second, or its share: an engine that cannot keep up shows it in its latencies."""
    result = llm_client.run(published, rate=f"{comparison.rate:g}/s")
    check_lengths(result)
    statistic = "p99" if len(result.requests) >= ENOUGH_FOR_P99 else "max"
    llm_perf.record(
        f"e2e {statistic} at {comparison.rate:g} req/s", llm_perf.read(f"latency.e2e_{statistic}").value, "s"
    )
    llm_perf.record("output needed to keep up", comparison.rate * comparison.output_tokens, "tok/s")


@pytest.fixture(scope="module")
def levels():
    return {}


@pytest.mark.memory_budget(kv_cache="512 MiB")
@pytest.mark.latency_budget(ttft_p50="60 s")
@pytest.mark.parametrize("shared", [0.0, 0.9], ids=["distinct", "shared"])
def test_prefix_sharing(llm_client, llm_engine, llm_perf, comparison, levels, shared):
    """Eight users at a time, with prompts of one length: first all different, then with nine tenths in common."""
    tokens = max(16, comparison.context // 2)
    load = workload(
        prompt_tokens=tokens,
        output_tokens=comparison.output_tokens,
        requests=12,
        shared_prefix=int(shared * tokens),
        seed=1,
    )
    llm_client.run(load, concurrency=8)
    cached = llm_perf.read("throughput.prefix_hit_rate").value
    if cached is not None:
        llm_perf.record("share of the prompts that came from the cache", cached, "1")
    level = levels[llm_engine, shared] = llm_perf.read("memory.kv_cache").value
    if level and levels.get((llm_engine, 0.0)):
        llm_perf.record("KV cache in use, of that with distinct prompts", level / levels[llm_engine, 0.0], "1")


def test_quality(llm_client):
    """How much its answers differ from those of the first engine of the run; conftest.py has the budget."""
    assert llm_client.generate("The capital of France is", max_tokens=4).text


@pytest.mark.llm_engines("llamacpp", "ollama", "vllm", "simulated")
@pytest.mark.memory_budget(peak="12 GiB", idle="12 GiB", unloaded="1 GiB")
@pytest.mark.cost_budget(idle_month="2200 $")
def test_three_models_loaded_and_unasked(models, llm_client_factory):
    """What three models hold while all of them are loaded and none is asked, and then what unloading them leaves."""
    for engine in models:
        assert llm_client_factory(engine).generate("Once upon a time", max_tokens=4).text
    for engine in models:
        engine.unload()
