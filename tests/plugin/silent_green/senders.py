"""The ways in which a test sends a request, as the beginning of a test file: ``send(llm_client, WAY)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from tests.conftest import Runs
    from tests.helpers.hostile_server import HostileServer, Reply

SEND = """
import contextlib, json, urllib.error, urllib.request
from pytest_llmperf import RequestFailed, workload

TOKENS = 16
POSTS = {
    "app": ("/v1/completions", {"prompt": "x", "max_tokens": TOKENS, "stream": True}),
    "app, whole": ("/v1/completions", {"prompt": "x", "max_tokens": TOKENS}),
    "app, chat": ("/v1/chat/completions", {"messages": [], "max_completion_tokens": TOKENS, "stream": True}),
    "app, responses": ("/v1/responses", {"input": "x", "max_output_tokens": TOKENS, "stream": True}),
    "app, ollama": ("/api/chat", {"messages": [], "options": {"num_predict": TOKENS}, "stream": True}),
}

def post(url, path, body):
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url.removesuffix("/v1") + path, json.dumps(body).encode(), headers)
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()

def send(llm_client, way):
    with contextlib.suppress(RequestFailed):
        if way == "client":
            llm_client.generate("x", max_tokens=TOKENS)
        elif way == "client, whole":
            llm_client.generate("x", max_tokens=TOKENS, stream=False)
        elif way == "client, chat":
            llm_client.chat("x", max_tokens=TOKENS)
        elif way == "prompts":
            llm_client.run(["x", "y"], max_tokens=TOKENS)
        elif way == "load":
            llm_client.run(workload(["x"] * 3, output_tokens=TOKENS), concurrency=1)
        else:
            post(llm_client.base_url, *POSTS[way])
"""
BUDGETS = """
@pytest.mark.latency_budget(ttft_max="1 min", tpot_max="1 min", e2e_max="1 min")
@pytest.mark.throughput_budget(output="0.001 tok/s", requests="0.001 req/s", goodput="0.001 req/s")
def test_it(llm_client):
    send(llm_client, {way!r})
"""
# One test for each reply in a list of a server, which finds it by the prompt.
EACH = """
@pytest.mark.latency_budget(e2e_max="1 min")
@pytest.mark.throughput_budget(output="0.001 tok/s")
@pytest.mark.parametrize("number", range({count}))
def test_it(llm_client, number):
    with contextlib.suppress(RequestFailed):
        llm_client.generate(str(number), max_tokens=400)
"""
# What a busy host changes no verdict on: chunks that it brings together say nothing of the time between tokens.
STEADY = """
@pytest.mark.latency_budget(e2e_max="1 min")
@pytest.mark.throughput_budget(output="0.001 tok/s", requests="0.001 req/s")
def test_it(llm_client):
    send(llm_client, {way!r})
"""


def sends(way: str, budgets: str = BUDGETS) -> str:
    """A test file with one test that sends a request, and goes on if it fails."""
    return SEND + budgets.format(way=way)


def judge_each(runs: Runs, hostile: HostileServer, replies: Sequence[Reply]) -> pytest.RunResult:
    """Runs a test for each of these replies, strictly; the number of the reply is in the name of its test."""
    hostile.answer = lambda asked: replies[int(asked.body["prompt"])]
    return runs.plain(SEND + EACH.format(count=len(replies)), "--llmperf-strict", *hostile.options)
