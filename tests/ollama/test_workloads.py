"""Loads on Ollama: sent in every form by a process of their own, with prompts that the model's runner counts."""

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
    # The nonce before it is one of its tokens.
    assert [request.prompt_tokens for request in result.requests] == [40] * 6
    shared = llm_client.run(workload(prompt_tokens=40, output_tokens=4, requests=3), share_prefix=True)
    assert [request.prompt_tokens for request in shared.requests] == [40] * 3
    group = llm_client.run(workload(prompt_tokens=40, output_tokens=4, requests=3, shared_prefix="50 %"))
    assert [request.prompt_tokens for request in group.requests] == [40] * 3

@pytest.mark.throughput_budget(prefix_hit_rate="30 %")
def test_hits(llm_client, llm_perf):
    llm_client.run(workload(prompt_tokens=40, output_tokens=4, requests=3, shared_prefix="50 %"))
    # The first one finds nothing, each other one the nonce and 20 tokens.
    assert llm_perf.read("throughput.prefix_hit_rate").value == 42 / 120
"""


EVERY_FORM = """
from pytest_llmperf import RequestFailed, workload

def mix(**settings):
    return workload(**{"prompt_tokens": "4-20", "output_tokens": 3, "requests": 12, **settings})

def check(result, requests=12):
    assert len(result.answered) == requests
    assert result.load.health.connections
    assert result.load.health.loop_lag.most >= 0
    return result

def test_open_loop(llm_client):
    result = check(llm_client.run(mix(), rate="200/s", warmup=2))
    assert all(request.scheduled_ns for request in result.requests)
    assert result.load.health.schedule_lag.most >= 0
    assert [request.phase for request in result.requests] == ["warmup"] * 2 + ["steady"] * 10

def test_constant_rate_for_a_time(llm_client):
    result = llm_client.run(mix(requests=None), rate="100/s", arrival="constant", duration="100 ms", ramp="20 ms")
    check(result, len(result.requests))
    assert len(result.requests) <= 10

def test_closed_loop_without_streams(llm_client):
    result = check(llm_client.run(mix(), concurrency=3, cooldown=1, stream=False))
    assert [request.output_tokens for request in result.requests] == [3] * 12

@pytest.mark.latency_budget(ttft_p50="30 s")
def test_chats_of_several_turns(llm_client):
    result = check(llm_client.run(mix(turns=3, output_tokens="1-4")))
    prompts = [request.prompt_tokens for request in result.requests]
    assert max(prompts) > 2 * min(prompts)
    assert result.load.full_answers == 12

def test_own_prompts_at_their_times(llm_client, tmp_path):
    from pytest_llmperf import workload_file
    lines = [f'{{"prompt": "word {n}", "output_tokens": 2, "timestamp": {n / 100}}}' for n in range(4)]
    (tmp_path / "trace.jsonl").write_text("\\n".join(lines))
    check(llm_client.run(workload_file(tmp_path / "trace.jsonl", time_unit="s")), 4)

@pytest.mark.latency_budget(ttft_p50="30 s")
def test_until_decided(llm_client):
    assert len(llm_client.run(mix(), concurrency=2, until="decided").requests) == 12

def test_errors_are_tolerated_up_to_a_rate(llm_client):
    prompts = workload(["one [repeat]", "two", "three", "four"], output_tokens=40)
    assert len(llm_client.run(prompts, max_error_rate="30 %", frequency_penalty=0.0).failed) == 1
    with pytest.raises(RequestFailed, match="1 of 4 requests failed, .*: the server ends answers that repeat"):
        llm_client.run(prompts, frequency_penalty=0.0)
    # By itself a load does not let the model repeat itself.
    assert llm_client.run(prompts).load.full_answers == 4

def test_settings_of_requests(llm_client):
    check(llm_client.run(mix(), concurrency=2, top_k=5, seed=1, headers={"X-Tenant": "a"}, timeout="60 s"))
    with pytest.raises(ValueError, match="ignore_eos=True: Ollama has no such option"):
        llm_client.run(mix(), ignore_eos=True)
"""


def test_a_load_takes_every_form_and_has_the_health_of_its_sender(ollama: OllamaRuns) -> None:
    result = ollama(EVERY_FORM, "--llmperf-strict")
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["budgets: 2 PASS"])


def test_prompts_have_the_tokens_that_were_asked_for(ollama: OllamaRuns) -> None:
    result = ollama(SUITE, "--llmperf-strict")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["budgets: 1 PASS"])


def test_where_neither_the_runner_nor_a_file_can_be_asked_that_is_said(
    server: str, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_llmperf.engines.lifecycle.listeners._LOOPBACK", ())
    monkeypatch.setattr("pytest_llmperf.engines.ollama.deployment.os.access", lambda *_: False)
    result = runs.plain(SUITE, "--llm-engine=ollama:qwen:tiny", f"--llmperf-url=http://{server}")
    result.stdout.fnmatch_lines(
        [
            "FAILED *ValueError: the engine could not count the tokens of a text "
            "(the runner of qwen:tiny cannot be asked from here, and its file is not on this host): "
            "give workload(tokenizer=...)"
        ]
    )
