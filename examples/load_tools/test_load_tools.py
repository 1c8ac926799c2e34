"""Gate the load tool that a team has: it runs as the app under test, and its load is judged by the budgets of the test.

LOAD_TOOLS=/env-of-locust/bin:/env-of-guidellm/bin pytest examples/load_tools --llm-engine=vllm:Qwen/Qwen3-0.6B
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from tools import OUTPUT_TOKENS, TOOLS, Target

from pytest_llmperf import BudgetExceeded

each_tool = pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.program)


@pytest.fixture
def target(tool, llm_client, pytestconfig):
    tokenizer = pytestconfig.getoption("tokenizer") or llm_client.model
    if tool.path is None:
        pytest.skip(f"{tool.name} is not installed: no {tool.program} on the PATH nor in the folders of LOAD_TOOLS")
    if tool.needs_tokenizer and tokenizer == "tiny":
        pytest.skip(f"{tool.name} needs a tokenizer: give --tokenizer=FOLDER")
    return Target(llm_client.base_url, llm_client.model, tokenizer)


@pytest.mark.latency_budget(ttft_p95="5 s", e2e_p95="30 s")
@pytest.mark.throughput_budget(output="10 tok/s", requests="0.5 req/s")
@each_tool
def test_a_load_tool_under_budgets(tool, target, llm_perf, pytestconfig, tmp_path):
    """Its warm-up is left out of the budgets, as the tool leaves it out; then both have counted the same."""
    llm_perf.leave_out(warmup=tool.warmup)
    theirs = tool.run(tool, target, tmp_path)

    judged = llm_perf.measurement.judged
    assert len(judged) == theirs.requests == tool.requests
    assert sum(request.output_tokens for request in judged) == theirs.output_tokens == tool.requests * OUTPUT_TOKENS

    ours = llm_perf.read("throughput.output").value
    llm_perf.record(f"output rate by {tool.name}", theirs.rate, "tok/s")
    llm_perf.record("that rate over ours", theirs.rate / ours, "1")
    assert theirs.rate == pytest.approx(ours, rel=pytestconfig.getoption("agreement"))


@pytest.mark.xfail(raises=BudgetExceeded, strict=True)
@pytest.mark.throughput_budget(requests="100000 req/s")
@each_tool
def test_a_budget_that_its_load_breaks_fails_the_test(tool, target, llm_perf, tmp_path):
    llm_perf.leave_out(warmup=tool.warmup)
    assert tool.run(replace(tool, requests=20), target, tmp_path).requests == 20
