"""What an app asks on each endpoint: text counts as text, embeddings and scores have metrics of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs

SUITE = """
    import json, urllib.error, urllib.request

    pytestmark = [
        pytest.mark.latency_budget(embed_max="1 min", rank_max="1 min", ttft_max="1 min"),
        pytest.mark.throughput_budget(inputs="0.1 inputs/s", input_tokens="0.1 tok/s", output="0.1 tok/s"),
    ]

    def post(client, path, **body):
        wire = json.dumps({"model": client.model, **body}).encode()
        request = urllib.request.Request(client.base_url + path, wire, {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request))

    def test_asks_for_everything(llm_client):
        post(llm_client, "/embeddings", input=["one", "two", "three"])
        ranks = post(llm_client, "/rerank", query="sea", documents=["ocean", "hill"])
        assert len(ranks["results"]) == 2
        llm_client.generate("x", max_tokens=4)
        post(llm_client, "/embeddings", input="four")

    def test_asks_for_text_alone(llm_client):
        llm_client.generate("x", max_tokens=4)

    def test_asks_for_embeddings_alone(llm_client):
        post(llm_client, "/embeddings", input="one")

    def test_fails_to_embed(llm_client):
        llm_client.generate("x", max_tokens=4)
        with pytest.raises(urllib.error.HTTPError):
            post(llm_client, "/embeddings", input=[])

    @pytest.mark.parametrize("stream", [True, False])
    def test_asks_by_the_api_of_anthropic(llm_client, stream):
        asked = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 6, "stream": stream}
        wire = json.dumps({"model": llm_client.model, **asked}).encode()
        request = urllib.request.Request(llm_client.base_url + "/messages", wire)
        request.add_header("Content-Type", "application/json")
        assert (b"message_stop" in urllib.request.urlopen(request).read()) is stream
"""
OF_TEXT = ("latency.ttft", "throughput.output")
OF_INPUTS = ("latency.embed", "throughput.inputs", "throughput.input_tokens")


def test_each_kind_of_work_has_verdicts_of_its_own(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(SUITE, "--llmperf-report=out.json", "-p", "no:randomly")
    everything, text, embeddings, failed, *messages = read_report(pytester.path / "out.json")["tests"]
    found = [
        {verdict["metric"]: verdict["status"] for verdict in test["verdicts"]}
        for test in (everything, text, embeddings, failed)
    ]
    assert set(found[0].values()) == {"PASS"}
    assert {metric for metric, status in found[1].items() if status == "PASS"} == set(OF_TEXT)
    assert set(found[1].values()) == {"PASS", "NOT MEASURED"}
    assert {metric for metric, status in found[2].items() if status == "PASS"} == set(OF_INPUTS)
    assert set(found[2].values()) == {"PASS", "NOT MEASURED"}
    assert {metric: found[3][metric] for metric in OF_TEXT} == dict.fromkeys(OF_TEXT, "PASS")
    assert {metric: found[3][metric] for metric in OF_INPUTS} == dict.fromkeys(OF_INPUTS, "INVALID")

    for test, streamed in zip(messages, (True, False), strict=True):
        passed = {verdict["metric"] for verdict in test["verdicts"] if verdict["status"] == "PASS"}
        assert passed == ({*OF_TEXT} if streamed else {"throughput.output"})
        [request] = test["measurement"]["requests"]["records"]
        assert (request["output_tokens"], request["finish_reason"]) == (6, "length")

    requests = everything["measurement"]["requests"]
    assert (requests["total"], requests.get("unread")) == (1, None)
    inputs = requests["inputs"]
    assert (inputs["embed"], inputs["rank"], inputs["failed"], inputs["texts"]) == (2, 1, 0, 6)
    assert inputs["tokens"] > 0
    assert failed["measurement"]["requests"]["inputs"]["failed"] == 1
    assert "inputs" not in text["measurement"]["requests"]
    missing = embeddings["measurement"]["missing"]
    assert "latency.ttft" in missing["the test sent requests for embeddings or scores alone, and none for text"]
    assert missing["the test sent no request for scores"] == ["latency.rank"]
    names = ["throughput.inputs", "throughput.input_tokens", "latency.embed", "latency.rank"]
    assert text["measurement"]["missing"]["the test sent no request for embeddings or scores"] == names
    result.stdout.fnmatch_lines(["*INVALID: 1 of 1 requests failed, the first with: HTTP 4*"])
