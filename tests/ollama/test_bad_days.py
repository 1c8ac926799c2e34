"""What may go wrong during a test: the measurement is invalid and says why in one line, and the next test is well."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.ollama.conftest import OllamaRuns

SUITE = """
import json, urllib.request

def app(llm_client, path, **body):
    \"\"\"The app under test asks by itself, and knows nothing of what it is measured by.\"\"\"
    root = llm_client.base_url.removesuffix("/v1")
    data = json.dumps({{"model": llm_client.model, "stream": False, **body}}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{{root}}{{path}}", data)) as answer:
        return json.load(answer)

@pytest.mark.throughput_budget(output="0.0001 tok/s")
def test_bad(llm_client, llm_engine):
    {body}

@pytest.mark.throughput_budget(output="0.0001 tok/s")
def test_next(llm_client):
    assert llm_client.generate("Hello", max_tokens=4).text
"""

FAILED = 'with pytest.raises(Exception): llm_client.generate("{}", max_tokens=60)'
DAYS = {
    "the server is busy": (
        FAILED.format("[busy]"),
        "1 of 1 requests failed, the first with: HTTP 503: server busy, please try again. maximum pending requests *",
    ),
    "the model repeats itself": (
        FAILED.format("[repeat]"),
        'the first with: the answer ended without "done": true * the server ends answers that repeat themselves',
    ),
    "the runner is killed in the middle of a stream": (
        FAILED.format("[kill runner]"),
        "the runner of smollm2:135m-q4 (pid *) has ended; * an error was encountered while running the model: *",
    ),
    "the server is killed": (
        FAILED.format("[kill server]"),
        "ollama ended with SIGKILL; * the server closed the connection in the middle of the answer",
    ),
    "a prompt is longer than the context": (
        'with pytest.raises(Exception): llm_client.chat("word " * 300)',
        "the first with: HTTP 400: request (304 tokens) exceeds the available context size (256 tokens), *",
    ),
    "an answer is longer than the context": (
        'llm_client.generate("Hello", max_tokens=300)',
        "1 of 1 answers went past the context of 256 tokens, and the server dropped what came first: *",
    ),
    "a prompt of the app is cut": (
        'llm_client.generate("Hello", max_tokens=2); app(llm_client, "/api/generate", prompt="word " * 300)',
        "the server cut 1 prompt to fit into the context",
    ),
    "an option of the app is ignored": (
        'llm_client.generate("Hello", max_tokens=2)\n'
        '    app(llm_client, "/api/generate", prompt="Hi", options={"ignore_eos": True, "num_predict": 2})',
        "the server ignored options that it does not know: ignore_eos",
    ),
    "the app has the model loaded anew": (
        'llm_client.generate("Hello", max_tokens=2)\n'
        '    app(llm_client, "/api/generate", prompt="Hi", options={"num_ctx": 512, "num_predict": 2})',
        "smollm2:135m-q4 was loaded again during the test (runner * → *, context 256 → 512): *",
    ),
    "prompts come from the cache": (
        'for _ in range(3): llm_client.generate("word " * 60, max_tokens=2, llmperf_nonce="")',
        "118 prompt tokens came from the runner's cache, which the test did not ask for (share_prefix=True does)",
    ),
}


@pytest.mark.parametrize("day", DAYS)
def test_the_measurement_is_invalid_with_its_cause_and_the_next_test_is_well(ollama: OllamaRuns, day: str) -> None:
    body, cause = DAYS[day]
    result = ollama(SUITE.format(body=body), "--llmperf-strict", num_ctx=256)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([f"throughput.output INVALID: *{_escape(cause)}", "*test_next * PASS"])


def _escape(pattern: str) -> str:
    return re.sub(r"\[", "[[]", pattern)


def test_a_test_that_asks_for_cached_prompts_or_for_a_reload_is_measured(ollama: OllamaRuns) -> None:
    result = ollama(
        """
        @pytest.mark.throughput_budget(output="0.0001 tok/s")
        @pytest.mark.latency_budget(ttft_max="60 s")
        def test_cached(llm_client):
            for _ in range(3):
                llm_client.generate("word " * 60, max_tokens=2, share_prefix=True)

        @pytest.mark.throughput_budget(output="0.0001 tok/s")
        def test_loads_anew(llm_client, llm_engine):
            llm_engine.unload()
            assert llm_client.generate("Hello", max_tokens=2).text
        """
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["budgets: 3 PASS"])


def test_fresh_prompts_leave_no_trace_of_each_other(ollama: OllamaRuns) -> None:
    result = ollama(
        """
        @pytest.mark.latency_budget(ttft_p50="60 s")
        def test_fresh(llm_client):
            llm_client.run(["word " * 60] * 12, max_tokens=2, chat=True)
        """
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["budgets: 1 PASS"])
