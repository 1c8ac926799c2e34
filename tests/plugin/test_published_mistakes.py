"""Four measuring mistakes of a published comparison of vLLM and Ollama, each made on purpose, and each caught.

Its scripts count words for tokens, send Ollama a limit on the length that it ignores, take one reading of memory after
the run for its peak, and go on over refused requests to a throughput.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.hostile_server import HostileServer, stream, text, usage
from tests.ollama.conftest import OllamaRuns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Runs
    from tests.helpers.hostile_server import Asked, Reply

SCRIPT = """
    import json, time
    from urllib.request import Request, urlopen
    from tests.helpers.waiting import until

    def post(client, path, **body):
        root = client.base_url.removesuffix("/v1")
        return urlopen(Request(root + path, json.dumps({"model": client.model, **body}).encode())).read().decode()
"""
PIECES = (" un", "believ", "ably", " anti", "dis", "establish", "ment", "arian", "ism")


@pytest.fixture
def server() -> Iterator[HostileServer]:
    """Its answers have 3 words in 11 tokens; those to the prompt "uncounted" state no number of tokens."""

    def answer(asked: Asked) -> Reply:
        pieces = [text(piece) for piece in (*PIECES, " in", "deed")]
        counts = [] if asked.body["prompt"] == "uncounted" else [usage(len(pieces))]
        return stream(*pieces, text("", "stop"), *counts, "[DONE]")

    with HostileServer(answer).running() as server:
        yield server


def test_words_are_not_counted_for_tokens(runs: Runs, server: HostileServer) -> None:
    result = runs.plain(
        SCRIPT
        + """
    def generate(client, prompt):
        lines = post(client, "/v1/completions", prompt=prompt, stream=True, max_tokens=11).splitlines()
        events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        return "".join(choice["text"] for event in events for choice in event["choices"])

    @pytest.mark.throughput_budget(output="0.001 tok/s")
    def test_counted(llm_client, llm_perf):
        start = time.monotonic()
        published = len(generate(llm_client, "counted").split()) / (time.monotonic() - start)
        measured = llm_perf.read("throughput.output").value
        assert measured > 3 * published
        (span,) = llm_perf.measurement.spans
        assert round(measured * span.seconds) == 11

    @pytest.mark.throughput_budget(output="0.001 tok/s")
    def test_uncounted(llm_client):
        assert len(generate(llm_client, "uncounted").split()) == 3
        """,
        "--llmperf-strict",
        *server.options,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_uncounted - NoVerdict: throughput.output NOT MEASURED: *"])


def test_a_limit_that_ollama_ignores_makes_its_numbers_invalid(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = OllamaRuns(runs, monkeypatch, tmp_path / "ollama")(
        SCRIPT
        + """
    @pytest.mark.throughput_budget(output="0.001 tok/s")
    @pytest.mark.latency_budget(e2e_max="10 min")
    @pytest.mark.parametrize("limit", [{"max_tokens": 8}, {"options": {"num_predict": 8}}], ids=["published", "right"])
    @pytest.mark.parametrize("path", ["generate", "chat"])
    def test_asks(llm_client, path, limit):
        prompt = {"prompt": "Hello [stop 30]", "messages": [{"role": "user", "content": "Hello [stop 30]"}]}
        post(llm_client, f"/api/{path}", **prompt, **limit, stream=False)
        """,
        "--llmperf-strict",
    )
    result.assert_outcomes(passed=2, failed=2)
    reason = "the server counted 31 tokens where 8 were asked for; Ollama's own API takes options.num_predict, *"
    result.stdout.fnmatch_lines([f"FAILED *published* - NoVerdict: *INVALID: *{reason}"] * 2)
    result.stdout.fnmatch_lines(["budgets: 4 PASS, 4 INVALID"])


def test_one_reading_is_no_peak_and_refused_requests_are_no_success(runs: Runs) -> None:
    result = runs(
        SCRIPT
        + """
    @pytest.mark.memory_budget(peak="64 MiB")
    def test_peak(llm_client, llm_engine, llm_perf):
        post(llm_client, "/v1/completions", prompt="x", max_tokens=100, simulate={"memory_per_request": "96 MiB"})
        until(lambda: llm_engine.memory().resident < 64 * 2**20)  # the one reading, once the answer is given away
        assert 64 * 2**20 < llm_perf.read("memory.peak").value

    def ask(client, answers, **simulated):
        start, tokens = time.monotonic(), 0
        for _ in range(answers):
            try:
                answer = json.loads(post(client, "/v1/completions", prompt="x", max_tokens=8, simulate=simulated))
            except OSError as error:
                print(f"Request failed: {error}")
            else:
                tokens += answer["usage"]["completion_tokens"]
        throughput = tokens / (time.monotonic() - start)
        print(f"Throughput: {throughput:.2f} tokens/sec")
        return throughput

    @pytest.mark.throughput_budget(output="0.001 tok/s", requests="0.001 req/s")
    @pytest.mark.latency_budget(e2e_max="10 min")
    @pytest.mark.memory_budget(peak="10 GiB")
    def test_refused(llm_client, llm_engine):
        assert ask(llm_client, 2) > 0
        llm_engine.stop()
        assert ask(llm_client, 2) == 0

    @pytest.mark.throughput_budget(output="0.001 tok/s", requests="0.001 req/s")
    @pytest.mark.latency_budget(e2e_max="10 min")
    @pytest.mark.memory_budget(peak="10 GiB")
    def test_cut_off(llm_client):
        assert ask(llm_client, 2, cut_after=3) == 0
        """,
        "--llmperf-strict",
    )
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "FAILED *::test_peak - BudgetExceeded: memory.peak * MiB > 64 MiB *",
            "FAILED *::test_refused - NoVerdict: *INVALID: *",
            "FAILED *::test_cut_off - NoVerdict: *INVALID: *2 of 2 requests failed*",
        ]
    )
    result.stdout.fnmatch_lines(["budgets: 1 FAIL, 8 INVALID"])
