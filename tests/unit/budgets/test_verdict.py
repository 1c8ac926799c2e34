"""What a verdict says of itself: its margin, its numbers and its sentence."""

from __future__ import annotations

import pytest

from pytest_llmperf.budgets.interval import Interval
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
        (Status.INVALID, True), (Status.NO_BUDGET, True), (Status.NO_BASELINE, True),
    ],
)  # fmt: skip
def test_only_what_says_neither_held_nor_broken_is_without_verdict(status: Status, without: bool) -> None:
    assert status.without_verdict is without
    assert len(Status) == 7


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
        (verdict("memory.peak", 16 * GIB, "16 GiB", 17.3 * GIB), "memory.peak 17.3 GiB > 16 GiB (margin -8.1 %)"),
        (
            verdict("latency.ttft", 0.3, "300 ms", 0.45, name="latency.ttft_p95"),
            "latency.ttft_p95 450 ms > 300 ms (margin -50.0 %)",
        ),
        (
            verdict("throughput.output", 800.0, "800 tok/s", 600.0),
            "throughput.output 600 tok/s < 800 tok/s (margin -25.0 %)",
        ),
        (verdict("memory.offload", 1.0, "100 %", 0.5), "memory.offload 50.0 % < 100 % (margin -50.0 %)"),
        (verdict("memory.retained", 0.0, "0 B", 3 * MIB), "memory.retained 3.00 MiB > 0 B"),
        (
            verdict(
                "latency.ttft", 0.3, "300 ms", None, Status.NOT_MEASURED, name="latency.ttft_p95", reason="too few"
            ),
            "latency.ttft_p95 NOT MEASURED: too few",
        ),
        (
            verdict("memory.peak", GIB, "1 GiB", 2 * GIB, Status.INVALID, reason="1 of 2 requests failed"),
            "memory.peak INVALID: 1 of 2 requests failed",
        ),
        (Verdict(Status.NO_BUDGET, "", "", reason="no budget for vllm"), "NO BUDGET: no budget for vllm"),
    ],
)
def test_a_verdict_is_one_sentence(found: Verdict, sentence: str) -> None:
    assert found.sentence() == sentence


# -------------------------------------------------------------------------------------------------- against a baseline


@pytest.mark.parametrize(
    ("metric", "measured", "bounds", "shown"),
    [
        ("latency.e2e", 0.3123, (0.3084, 0.3165), "+4.1 % (+2.8 to +5.5)"),
        ("throughput.output", 93.0, (91.0, 99.0), "-7.0 % (-9.0 to -1.0)"),
        ("memory.peak", 330.0, None, "+110 %"),
        ("latency.e2e", 0.33, (None, None), "+10.0 % (not bounded)"),
        ("latency.e2e", 0.33, (0.315, None), "+10.0 % (at least +5.0 %)"),
        ("latency.e2e", 0.33, (None, 0.36), "+10.0 % (at most +20.0 %)"),
    ],
)
def test_a_change_is_shown_with_its_interval(
    metric: str, measured: float, bounds: tuple[float | None, float | None] | None, shown: str
) -> None:
    baseline = {"latency.e2e": 0.3, "throughput.output": 100.0, "memory.peak": 157.0}[metric]
    interval = None if bounds is None else Interval(*bounds, 10, 10.0, "run")
    found = hand_made(
        Status.PASS, metric, metric, baseline * 1.1, "+10 %", measured,
        relative=True, baseline=baseline, interval=interval,
    )  # fmt: skip
    assert found.measured_with_interval == found.change_text == shown


def test_a_broken_change_names_both_values() -> None:
    broken = {"relative": True, "baseline": 0.3, "interval": Interval(0.333, 0.3525, 10, 10.0, "run")}
    slower = hand_made(Status.FAIL, "latency.e2e_p50", "latency.e2e", 0.33, "+10 %", 0.343, **broken)
    assert slower.sentence() == "latency.e2e_p50 +14.3 % (+11.0 to +17.5) > +10 %: 343 ms against 300 ms"
    less = hand_made(
        Status.FAIL, "throughput.output", "throughput.output", 95.0, "-5 %", 80.0, relative=True, baseline=100.0
    )
    assert less.sentence() == "throughput.output -20.0 % < -5 %: 80.0 tok/s against 100 tok/s"
