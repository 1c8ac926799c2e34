"""Throughput over the steady part of a load, computed by hand. Without a load it is in test_readings.py."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.measurement.load import Load
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.metrics.table import read
from tests.helpers.streams import MS, limits, measured, stream, whole

if TYPE_CHECKING:
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming

STEADY = Load("", Window(1000 * MS, 3000 * MS))


def load(*requests: RequestTiming) -> Measurement:
    """Two seconds from 1000 to 3000 ms are judged."""
    return measured(*requests, loads=(STEADY,))


def phase(request: RequestTiming, name: str) -> RequestTiming:
    return replace(request, phase=name)  # type: ignore[arg-type]


def test_tokens_count_that_came_within_the_steady_part_whoever_asked_for_them() -> None:
    early = phase(stream(800, 900, 1100, 1200, output_tokens=4, end_ns=1200 * MS), "warmup")
    inside = stream(1500, 1600, sent_ms=1400, output_tokens=2, end_ns=1600 * MS)
    late = phase(stream(2900, 3100, sent_ms=2800, output_tokens=2, end_ns=3100 * MS), "cooldown")
    reading = read("throughput.output", load(early, inside, late))
    assert reading.value == (2 + 2 + 1) / 2
    assert reading.how == "ΣN / (first send → last response), over the steady part of 2.00 s"


def test_a_chunk_counts_with_the_tokens_that_the_server_says_it_has() -> None:
    early = stream(900, 1100, counts=(1, 7), output_tokens=8, end_ns=1100 * MS)
    assert read("throughput.output", load(early)).value == 7 / 2


def test_a_chunk_that_nobody_counted_has_its_even_share() -> None:
    early = stream(900, 1100, 1200, 1300, output_tokens=10, end_ns=1300 * MS)
    assert read("throughput.output", load(early)).value == pytest.approx(7.5 / 2)


def test_an_answer_that_was_not_streamed_counts_when_it_came() -> None:
    requests = [whole(500, 999, output_tokens=9), whole(500, 1000, output_tokens=5), whole(2000, 3001, output_tokens=7)]
    assert read("throughput.output", load(*requests)).value == 5 / 2


def test_a_prompt_counts_when_its_first_token_came() -> None:
    before = stream(900, 1100, output_tokens=2, prompt_tokens=100, end_ns=1100 * MS)
    inside = stream(1500, 3500, sent_ms=800, output_tokens=2, prompt_tokens=40, end_ns=3500 * MS)
    assert read("throughput.total", load(before, inside)).value == (1 + 1 + 40) / 2


def test_requests_count_that_ended_within_the_steady_part() -> None:
    ends = [999, 1000, 2000, 3000, 3001]
    assert read("throughput.requests", load(*(whole(500, end) for end in ends))).value == 3 / 2


def test_goodput_counts_of_those_the_ones_that_met_the_limits() -> None:
    good = [stream(at + 100, sent_ms=at, output_tokens=1) for at in (1000, 1500)]
    slow = stream(2900, sent_ms=2000, output_tokens=1)
    outside = phase(stream(100, sent_ms=0, output_tokens=1), "warmup")
    failed = whole(1200, 1300, error="HTTP 500")
    tolerant = replace(STEADY, max_error_rate=0.5)
    both = [*limits("throughput", goodput="0.9 req/s"), *limits("latency", ttft_max="200 ms")]
    (verdict,) = (v for v in judge(both, measured(*good, slow, outside, failed, loads=(tolerant,))) if v.limit == 0.9)
    assert verdict.measured == 1.0


def test_latencies_are_those_of_the_steady_requests() -> None:
    requests = [stream(10, output_tokens=1), phase(stream(900, output_tokens=1), "warmup")]
    assert read("latency.ttft_max", load(*requests)).value == 0.01
    only_warm_up = load(phase(stream(10, output_tokens=1), "warmup"))
    assert read("latency.ttft_max", only_warm_up).value is None


def test_steady_parts_of_several_loads_add_up() -> None:
    loads = (STEADY, Load("", Window(5000 * MS, 6000 * MS)))
    requests = [
        whole(1000, 2000, output_tokens=30),
        whole(4000, 4500, output_tokens=99),
        whole(5000, 6000, output_tokens=60),
    ]
    assert read("throughput.output", measured(*requests, loads=loads)).value == 90 / 3
