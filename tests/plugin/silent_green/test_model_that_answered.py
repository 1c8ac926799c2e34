"""The model that answered is named where it is not the one that is measured."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.reports.report_file import read_report
from tests.helpers.hostile_server import MODEL, event, lines, stream, text, usage, whole

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.helpers.hostile_server import HostileServer, Reply

ASKS = """
    import json, urllib.request
    from pytest_llmperf import workload

    @pytest.mark.latency_budget(e2e_max="1 min")
    def test_asks(llm_client):
        def post(path, **more):
            body = json.dumps({"model": "other", "prompt": "x", "max_tokens": 1, **more}).encode()
            url = llm_client.base_url.removesuffix("/v1") + path
            urllib.request.urlopen(urllib.request.Request(url, body)).read()

"""
COUNTS = {"completion_tokens": 1, "prompt_tokens": 3}
RESPONSE = {
    "status": "completed",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "w"}]}],
    "usage": {"output_tokens": 1, "input_tokens": 3},
}


def completion(model: str) -> Reply:
    return whole(text("w", "length", usage=COUNTS, model=model))


def completion_stream(model: str) -> Reply:
    return stream(text("w", "length", model=model), usage(1), "[DONE]")


def native(model: str) -> Reply:
    last = {"model": model, "response": "", "done": True, "done_reason": "length", "eval_count": 1}
    return lines({"model": model, "response": "w", "done": False}, {**last, "prompt_eval_count": 3})


def response(model: str) -> Reply:
    return whole({**RESPONSE, "model": model})


WAYS: dict[str, tuple[str, Any]] = {
    "generate": ('llm_client.generate("x", max_tokens=1)', completion_stream),
    "a whole answer": ('llm_client.generate("x", max_tokens=1, stream=False)', completion),
    "a load": ('llm_client.run(workload(["x"], output_tokens=1))', completion_stream),
    "an app": ('post("/v1/completions")', completion),
    "an app, streamed": ('post("/v1/completions", stream=True)', completion_stream),
    "an app, responses": ('post("/v1/responses")', response),
    "an app, native": ('post("/api/generate")', native),
}


@pytest.mark.parametrize("way", WAYS)
def test_another_model_is_named(runs: Runs, hostile: HostileServer, pytester: pytest.Pytester, way: str) -> None:
    ask, reply = WAYS[way]
    hostile.answer = lambda _: reply("other-2024")
    result = runs.plain(
        f"{ASKS}        {ask}\n", "--llmperf-report=out.json", "--llmperf-report=out.md", *hostile.options
    )
    sentence = f"1 of 1 answers came from other-2024, not from {MODEL}"
    result.stdout.fnmatch_lines([f"note: {sentence} (test_it.py::test_asks)", "budgets: 1 PASS"])
    assert f"- {sentence} " in (pytester.path / "out.md").read_text(encoding="utf-8")
    (test,) = read_report(pytester.path / "out.json")["tests"]
    assert test["measurement"]["requests"]["models"] == {"other-2024": 1}


@pytest.mark.parametrize("model", [MODEL, f"{MODEL}:latest", ""])
def test_the_model_that_was_asked_needs_no_line(runs: Runs, hostile: HostileServer, model: str) -> None:
    hostile.answer = lambda _: completion_stream(model)
    result = runs.plain(f'{ASKS}        llm_client.generate("x", max_tokens=1)\n', *hostile.options)
    result.stdout.fnmatch_lines(["budgets: 1 PASS"])
    result.stdout.no_fnmatch_line("note: *answers came from*")


CLOSES = """
    import http.client, json
    from urllib.parse import urlsplit

    @pytest.mark.latency_budget(e2e_max="1 min")
    def test_app(llm_client):
        connection = http.client.HTTPConnection(urlsplit(llm_client.base_url).netloc)
        connection.request("POST", "/v1/completions", json.dumps({"prompt": "x", "max_tokens": 9, "stream": True}))
        answer = connection.getresponse()
        answer.read(10)
        connection.sock.shutdown(1)
        answer.read()
"""


def test_an_app_that_closed_its_stream_is_named_as_the_cause(runs: Runs, hostile: HostileServer) -> None:
    # As Go's servers do, which learn that their client is gone from its half of the connection.
    gone = replace(stream(text("w")), parts=[event(text("w")), 0.3, event({"error": {"message": "context canceled"}})])
    hostile.answer = lambda _: gone
    result = runs.plain(CLOSES, "--llmperf-strict", *hostile.options)
    result.stdout.fnmatch_lines(
        [
            "*INVALID: 1 of 1 requests failed, the first with: the app closed the connection before the answer was "
            "complete (the server reported an error: context canceled)*"
        ]
    )
