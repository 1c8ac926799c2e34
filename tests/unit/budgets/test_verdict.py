"""What a verdict says of itself: its margin, its numbers and its sentence."""

from __future__ import annotations

import pytest

from pytest_llmperf.budgets.verdict import Status, Verdict
from tests.helpers.verdicts import verdict as hand_made

GIB = 2.0**30
MIB = 2.0**20


def verdict(
    metric: str, limit: float | None, text: str, measured: float | None, status: Status = Status.FAIL, **more: str
) -> Verdict:
    return hand_made(status, more.pop("name", metric), metric, limit, text, measured, **more)


@pytest.mark.parametrize(
    ("status", "without"),
    [
        (Status.PASS, False), (Status.FAIL, False), (Status.INCONCLUSIVE, False), (Status.NOT_MEASURED, True),
        (Status.INVALID, True), (Status.NO_BUDGET, True),
    ],
)  # fmt: skip
def test_only_what_says_neither_held_nor_broken_is_without_verdict(status: Status, without: bool) -> None:
    assert status.without_verdict is without
    assert len(Status) == 6


@pytest.mark.parametrize(
    ("metric", "limit", "measured", "margin", "text"),
    [
        ("memory.peak", 16 * GIB, 12 * GIB, 0.25, "+25.0 %"),
        ("memory.peak", 16 * GIB, 17.6 * GIB, -0.1, "-10.0 %"),
        ("memory.peak", 16 * GIB, 48 * GIB, -2.0, "-200 %"),
        ("memory.peak", 16 * GIB, 16 * GIB, 0.0, "+0.0 %"),
        ("memory.peak", 16 * GIB, 0, 1.0, "+100 %"),
        ("throughput.output", 800.0, 1000.0, 0.2, "+20.0 %"),
        ("throughput.output", 800.0, 720.0, -0.1, "-10.0 %"),
        ("throughput.output", 800.0, 800.0, 0.0, "+0.0 %"),
        ("throughput.output", 800.0, 0.0, -1.0, "-100 %"),
        ("memory.offload", 1.0, 0.9, -0.1, "-10.0 %"),
        ("memory.kv_waste", 0.1, 0.05, 0.5, "+50.0 %"),
        ("memory.retained", 0.0, 0, 0.0, "+0.0 %"),
        ("memory.retained", 0.0, 3 * MIB, None, "-3.00 MiB"),
        ("memory.retained", 0.0, -3 * MIB, None, "+3.00 MiB"),
        ("throughput.output", 0.0, 0.0, 0.0, "+0.0 %"),
        ("memory.peak", 16 * GIB, None, None, "–"),
        ("memory.peak", None, 1.0, None, "–"),
    ],
)
def test_the_margin_is_the_room_that_is_left(
    metric: str, limit: float | None, measured: float | None, margin: float | None, text: str
) -> None:
    found = verdict(metric, limit, "", measured)
    assert found.margin == (margin if margin is None else pytest.approx(margin))
    assert found.margin_text == text


def test_a_value_a_hair_beyond_its_limit_has_a_margin_that_is_not_zero() -> None:
    hair = verdict("memory.peak", 16 * GIB, "16 GiB", 16 * GIB + 1)
    assert hair.margin_text.startswith("-")
    assert not hair.margin_text.startswith("-0.0 ")
    assert hair.measured_text != "16.0 GiB"


@pytest.mark.parametrize(
    ("metric", "limit", "text", "measured", "shown"),
    [
        ("memory.peak", 16 * GIB, "16 GiB", 17.3 * GIB, "17.3 GiB"),
        ("memory.peak", 16e9, "16 GB", 17.3e9, "17.3 GB"),
        ("memory.peak", 16 * GIB, "16 GiB", 16.004 * GIB, "16.004 GiB"),
        ("latency.ttft", 0.3, "300 ms", 0.3004, "300.4 ms"),
        ("memory.kv_waste", 0.1, "10 %", 0.123, "12.3 %"),
        ("memory.peak", 16 * GIB, "16 GiB", None, "–"),
        ("memory.peak", None, "", 1.5 * GIB, "1.50 GiB"),
    ],
)
def test_a_measured_value_is_shown_in_the_units_of_its_limit(
    metric: str, limit: float | None, text: str, measured: float | None, shown: str
) -> None:
    assert verdict(metric, limit, text, measured).measured_text == shown


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (verdict("memory.peak", 16 * GIB, "16 GiB", 17.3 * GIB), "memory peak 17.3 GiB > 16 GiB (+8.1 %)"),
        (
            verdict("latency.ttft", 0.3, "300 ms", 0.45, name="latency.ttft_p95"),
            "latency ttft_p95 450 ms > 300 ms (+50.0 %)",
        ),
        (verdict("throughput.output", 800.0, "800 tok/s", 600.0), "throughput output 600 tok/s < 800 tok/s (-25.0 %)"),
        (verdict("memory.offload", 1.0, "100 %", 0.5), "memory offload 50.0 % < 100 % (-50.0 %)"),
        (verdict("memory.retained", 0.0, "0 B", 3 * MIB), "memory retained 3.00 MiB > 0 B"),
        (
            verdict(
                "latency.ttft", 0.3, "300 ms", None, Status.NOT_MEASURED, name="latency.ttft_p95", reason="too few"
            ),
            "latency ttft_p95 NOT MEASURED: too few",
        ),
        (
            verdict("memory.peak", GIB, "1 GiB", 2 * GIB, Status.INVALID, reason="1 of 2 requests failed"),
            "memory peak INVALID: 1 of 2 requests failed",
        ),
        (Verdict(Status.NO_BUDGET, "", "", reason="no budget for vllm"), "NO BUDGET: no budget for vllm"),
    ],
)
def test_a_verdict_is_one_sentence(found: Verdict, sentence: str) -> None:
    assert found.sentence() == sentence
