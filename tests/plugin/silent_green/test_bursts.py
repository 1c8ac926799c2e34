"""Tokens that were held back on their way and arrive in bursts: the times between them are not the engine's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.reports.report_file import read_report
from tests.helpers.hostile_server import Reply, event, text, usage
from tests.helpers.vllm_double import VLLMDouble, Way

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Runs
    from tests.helpers.hostile_server import HostileServer

# Limits that no answer of these tests can break, and some that are broken or kept by 20 ms a token, while the stamps of
# tokens that were held back say the opposite.
FAR = """
    @pytest.mark.latency_budget(itl_max="1 min", chunk_gap_max="1 min", tpot_max="1 min")
    @pytest.mark.latency_budget(ttft_max="1 min", e2e_max="1 min")
    @pytest.mark.throughput_budget(per_user="0.1 tok/s", output="0.1 tok/s", goodput="0.001 req/s")
    def test_far(llm_client):
"""
NEAR = """
    @pytest.mark.latency_budget(itl_max="15 ms", chunk_gap_max="15 ms", tpot_max="15 ms")
    @pytest.mark.latency_budget(ttft_max="200 ms", e2e_max="1 min")
    @pytest.mark.throughput_budget(per_user="70 tok/s", output="0.1 tok/s", goodput="0.1 req/s")
    def test_near(llm_client):
"""
BY_GAPS = {"itl_max", "chunk_gap_max", "goodput"}
STREAMED = {"itl_max", "chunk_gap_max", "tpot_max", "ttft_max", "per_user", "goodput"}
WAYS_TO_ASK = {
    "generate": 'llm_client.generate("x", max_tokens=24)',
    "chat": 'llm_client.chat("x", max_tokens=24)',
    "list": 'llm_client.run(["x", "y"], concurrency=2, max_tokens=24)',
    "load": """
        from pytest_llmperf import workload
        llm_client.run(workload(["x", "y", "z"], output_tokens=24), concurrency=2)
    """,
    "app": """
        import json, urllib.request
        body = {"model": llm_client.model, "messages": [], "max_tokens": 24, "stream": True}
        body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
        url = f"{llm_client.base_url}/chat/completions"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode())) as answer:
            answer.read()
    """,
}


@pytest.fixture
def vllm() -> Iterator[VLLMDouble]:
    with VLLMDouble().running_here() as double:
        yield double


def source(way: str, budgets: str = FAR) -> str:
    lines = [line.strip() for line in WAYS_TO_ASK[way].strip().splitlines()]
    indent = ["            " if line == "answer.read()" else "        " for line in lines]
    return budgets + "\n".join(space + line for space, line in zip(indent, lines, strict=True)) + "\n"


def run(runs: Runs, text: str, *options: str) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """Of each test the status of each budget by its key, and the measurement.

    What a busy host does to the client is left out.
    """
    runs.plain(text, "--llmperf-report=report.json", *options)
    tests = read_report(Path("report.json"))["tests"]
    return [(read_statuses(test["verdicts"]), test["measurement"]) for test in tests]


def read_statuses(verdicts: list[dict[str, Any]]) -> dict[str, str]:
    return {v["name"].partition(".")[2]: v["status"] for v in verdicts if not _is_of_client(v["reason"])}


def _is_of_client(reason: str) -> bool:
    return reason.startswith(("the client's event loop", "the client sent", "the client took"))


def select(found: dict[str, str], status: str) -> set[str]:
    return {key for key, its_own in found.items() if its_own == status}


@pytest.mark.parametrize("ask", WAYS_TO_ASK)
def test_tokens_that_come_as_the_engine_gives_them_are_judged(runs: Runs, vllm: VLLMDouble, ask: str) -> None:
    vllm.way = Way(step_s=0.01)  # long beside what a busy host takes to pass a token on
    [(found, measurement)] = run(runs, source(ask), *vllm.options)
    # A busy host may make this client read two tokens at once, which is told as well.
    assert {status for key, status in found.items() if key not in BY_GAPS} == {"PASS"}
    clock = measurement["server_clock"]
    assert clock["reason"] == ""
    assert clock["server"]["gap_mean_s"] == pytest.approx(0.01)
    assert clock["client"]["gap_mean_s"] > 0.009


@pytest.mark.parametrize("ask", WAYS_TO_ASK)
@pytest.mark.parametrize("in_one_write", [True, False])
def test_tokens_that_were_held_back_make_invalid_what_they_may_have_decided(
    runs: Runs, vllm: VLLMDouble, ask: str, in_one_write: bool
) -> None:
    # Few steps, each long beside what a busy host keeps this client waiting, which would be a gap of its own.
    vllm.way = Way(step_s=0.06, is_held=True, in_one_write=in_one_write)
    near_limits = NEAR.replace("15 ms", "45 ms").replace("70 tok/s", "22 tok/s")
    sources = (
        (source(ask, near_limits) + source(ask)).replace("tokens=24", "tokens=8").replace('tokens": 24', 'tokens": 8')
    )
    (near, _), (far, _) = run(runs, sources, *vllm.options)
    assert select(near, "INVALID") == STREAMED
    assert select(near, "PASS") == {"e2e_max", "output"}
    # Tokens that came in one moment give no rate at all.
    assert select(far, "INVALID") <= {"per_user"}
    assert select(far, "PASS") >= {*STREAMED - {"per_user"}, "e2e_max", "output"}


def test_the_reason_holds_both_clocks_side_by_side(runs: Runs, vllm: VLLMDouble) -> None:
    vllm.way = Way(is_held=True)
    result = runs.plain(source("generate", NEAR), "--llmperf-strict", *vllm.options)
    result.stdout.fnmatch_lines(["clocks *the server's own: first token after *"])
    result.stdout.fnmatch_lines(
        ["FAILED *from the first token to the last for the client, 69.0 ms by the server's own *"]
    )


@pytest.mark.parametrize("ask", WAYS_TO_ASK)
@pytest.mark.parametrize("merged", [2, 8])
def test_tokens_that_were_merged_say_nothing_of_single_gaps(
    runs: Runs, vllm: VLLMDouble, ask: str, merged: int
) -> None:
    vllm.way = Way(merged=merged)
    [(found, _)] = run(runs, source(ask, NEAR), *vllm.options)
    assert select(found, "INVALID") >= BY_GAPS
    assert select(found, "PASS") >= {"e2e_max", "output"}


def test_counters_that_others_move_as_well_are_not_compared(runs: Runs, vllm: VLLMDouble) -> None:
    vllm.way = Way(strangers=1)
    [(found, measurement)] = run(runs, source("generate"), *vllm.options)
    assert set(found.values()) == {"INVALID"}
    assert measurement["server_clock"] == {
        "reason": "the server counts 2 first tokens, and the test sent 1 requests",
    }


@pytest.mark.parametrize("in_one_write", [True, False])
def test_without_a_clock_of_the_server_tokens_of_one_moment_are_told_by_themselves(
    runs: Runs, hostile: HostileServer, in_one_write: bool
) -> None:
    words = [event(text(" w", usage={"completion_tokens": n + 1, "prompt_tokens": 3})) for n in range(192)]
    parts = [b"".join(words)] if in_one_write else words
    tail = b"".join(map(event, (text("", "length"), usage(192), "[DONE]")))
    hostile.answer = lambda _: Reply([0.1, *parts, tail])
    asks = (
        source("generate", NEAR).replace("itl_max", "itl_p50").replace("generate", "run").replace('"x"', '["x"] * 12')
    )
    runs.plain(asks, "--llmperf-report=report.json", *hostile.options)
    (test,) = read_report(Path("report.json"))["tests"]
    assert "server_clock" not in test["measurement"]
    invalid = {v["name"] for v in test["verdicts"] if v["status"] == "INVALID"}
    assert invalid >= {"latency.itl_p50", "latency.tpot_max", "throughput.per_user"}


def test_times_that_an_answer_states_tell_as_well(runs: Runs, hostile: HostileServer) -> None:
    """All 24 tokens come after 0.5 s, a millisecond apart; by its own times the server gave one each 20 ms."""
    words = [event(text(" w", usage={"completion_tokens": n + 1, "prompt_tokens": 3})) for n in range(24)]
    spaced = [part for word in words for part in (0.001, word)]
    timings = {"prompt_n": 3, "prompt_ms": 20.0, "predicted_n": 24, "predicted_ms": 460.0}
    tail = b"".join(map(event, (text("", "length"), {**usage(24), "timings": timings}, "[DONE]")))
    hostile.answer = lambda _: Reply([0.5, *spaced, tail])
    [(near, measurement), (far, _)] = run(runs, source("load", NEAR) + source("generate"), *hostile.options)
    assert select(near, "INVALID") >= {"itl_max", "chunk_gap_max", "tpot_max", "per_user", "ttft_max"}
    assert measurement["server_clock"]["server"]["decode_s"] == pytest.approx(3 * 0.46)
    assert select(far, "PASS") >= {"itl_max", "chunk_gap_max", "tpot_max", "per_user"}
