"""What the answers of a real server say of its time, summed up over a test."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmperf.engines.ollama.observation import summarize_server_times
from pytest_llmperf.measurement.request import RequestTiming, ServerTimes
from pytest_llmperf.traffic.answers.ollama import read
from tests.helpers.captured import captured
from tests.helpers.ollama_captures import stream, whole

RUNS: dict[str, Any] = json.loads(captured("ollama/concurrency_np1.json"))


def requests(run: str) -> list[RequestTiming]:
    """Four clients of a server with one slot, as they were measured."""
    return [
        RequestTiming(
            sent_ns=round(r["start"] * 1e9),
            end_ns=round((r["start"] + r["wall"]) * 1e9),
            output_tokens=r["eval_count"],
            server=ServerTimes(*(round(r[key] * 1e6) for key in ("load_ms", "pe_ms", "ev_ms", "tot_ms"))),
        )
        for r in RUNS[run]["requests"]
    ]


def test_waiting_for_a_slot_is_in_none_of_the_servers_times_but_the_total() -> None:
    alone, beside = (
        summarize_server_times(requests("conc1"), decoding=True),
        summarize_server_times(requests("conc4"), decoding=True),
    )
    assert alone["queue_max_seconds"] < 0.01
    assert beside["queue_max_seconds"] > 1.5
    assert beside["queue_mean_seconds"] > 1
    assert beside["startup_max_seconds"] < 0.01


def test_the_rate_of_decoding_leaves_out_the_first_token_and_does_not_add_up_over_clients() -> None:
    stats = summarize_server_times(requests("conc4"), decoding=True)
    assert stats["decode_median_rate"] == pytest.approx(111.5, rel=0.1)
    one = summarize_server_times([read(stream("chat_stream.txt")).timing], decoding=True)
    assert one["decode_median_rate"] == pytest.approx(11 / 2.335937)
    assert one["prompt_seconds"] == pytest.approx(0.029699)


def test_one_token_has_no_rate() -> None:
    stats = summarize_server_times([read(whole("num_predict_1.json")).timing], decoding=True)
    assert "decode_median_rate" not in stats
    assert stats["decode_seconds"] == 1e-6


def test_a_server_that_leaves_the_sampling_out_of_its_times_has_no_rate() -> None:
    assert "decode_median_rate" not in summarize_server_times(requests("conc1"), decoding=False)


def test_answers_without_times_say_nothing() -> None:
    assert summarize_server_times([], decoding=True) == {}
    assert summarize_server_times([RequestTiming(0, 1)], decoding=True) == {}
    assert summarize_server_times([RequestTiming(0, 1, error="x", server=ServerTimes(1, 2, 3, 9))], decoding=True) == {}
    assert "queue_max_seconds" not in summarize_server_times(
        [RequestTiming(0, 1, server=ServerTimes(1))], decoding=True
    )
