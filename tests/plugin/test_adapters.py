"""Requests that ask for LoRA adapters are told apart by adapter, those of an app too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.reports.report_file import read_report
from tests.helpers.hostile_server import HostileServer, stream, text, usage, whole

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs
    from tests.helpers.hostile_server import Asked, Reply

SUITE = """
import json, urllib.request
from pytest_llmperf import workload

@pytest.mark.throughput_budget(output="0.001 tok/s")
def test_a_mix(llm_client, llm_perf):
    mix = workload(["x"] * 24, output_tokens=2, seed=1, adapters={"lora-a": 2, "lora-b": 1, "": 1})
    counts = [request.adapter for request in llm_client.run(mix, concurrency=2).requests]
    assert llm_perf.measurement.select_adapter("lora-a").requests
    assert llm_perf.read("latency.ttft_max", adapter="lora-a").samples % counts.count("lora-a") == 0

@pytest.mark.throughput_budget(requests="0.001 req/s")
def test_an_app(llm_client):
    for model in (llm_client.model, "lora-a", "lora-a", "another"):
        body = json.dumps({"model": model, "prompt": "x", "max_tokens": 2, "stream": True}).encode()
        request = urllib.request.Request(f"{llm_client.base_url}/completions", body)
        urllib.request.urlopen(request, timeout=60).read()
    llm_client.generate("x", max_tokens=2, model="lora-b")
"""


def answer(asked: Asked) -> Reply:
    named = {"model": asked.body["model"]}
    return stream(text(" w", **named), text(" v", **named), text("", "length", **named), usage(2), "[DONE]")


def test_results_are_told_by_adapter(runs: Runs, pytester: pytest.Pytester) -> None:
    server = HostileServer(answer)
    models = [{"id": "tiny"}, *({"id": name, "parent": "tiny"} for name in ("lora-a", "lora-b"))]
    server.pages["/v1/models"] = lambda: whole({"data": models})
    with server.running():
        options = [*server.options, "--llmperf-model=tiny", "--llmperf-report=out.json", "--llmperf-rounds=2"]
        result = runs.plain(SUITE, *options)
    result.assert_outcomes(passed=2)
    # What is an adapter of the model is no other model.
    result.stdout.fnmatch_lines(["*note: 2 of 4 answers came from another, not from tiny*"])
    mix, app = (test["measurement"] for test in read_report(pytester.path / "out.json")["tests"])
    by_name = {one.get("adapter", ""): one for one in mix["adapters"]}
    assert set(by_name) == {"lora-a", "lora-b", ""}
    assert sum(one["requests"] for one in by_name.values()) == 48
    # Each round is the same mix, and so is each run.
    assert by_name["lora-a"]["requests"] % 2 == 0
    assert by_name["lora-a"]["output_tokens"] == 2 * by_name["lora-a"]["requests"]
    assert {"latency.ttft_p50", "latency.e2e_max", "throughput.output"} <= by_name["lora-a"]["readings"].keys()
    rates = sum(one["readings"]["throughput.output"] for one in by_name.values())
    assert abs(rates / mix["readings"]["throughput.output"]["value"] - 1) < 1e-3
    assert mix["workload"]["loads"][0]["adapters"] == "adapters lora-a 2, lora-b 1, the model itself 1"
    assert {one.get("adapter", ""): one["requests"] for one in app["adapters"]} == {"": 4, "lora-a": 4, "lora-b": 2}
