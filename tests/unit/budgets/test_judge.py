"""From limits and a measurement to verdicts."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.budgets.judge import judge, select_broken
from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.measurement.measurement import Measurement
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.measurement.request import RequestTiming
from tests.helpers.streams import L4, limits, measured, stream, trace, whole
from tests.helpers.verdicts import verdict as hand_made

GOOD = stream(100, 120, output_tokens=2)


def one(group: str, measurement: Measurement, **arguments: object) -> Verdict:
    [verdict] = judge(limits(group, **arguments), measurement)
    return verdict


# -------------------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(("peak", "status"), [(1023, "PASS"), (1024, "PASS"), (1025, "FAIL")])
def test_an_upper_limit_is_inclusive(peak: int, status: str) -> None:
    verdict = one("memory", measured(memory=trace(0, peak)), peak="1 KiB")
    assert verdict == hand_made(
        Status(status), "memory.peak", "memory.peak", 1024.0, "1 KiB", float(peak), "resident memory", engine_seconds=0
    )


@pytest.mark.parametrize(("share", "status"), [(0.49, "FAIL"), (0.5, "PASS"), (0.51, "PASS")])
def test_a_lower_limit_is_inclusive(share: float, status: str) -> None:
    found = measured(engine_readings={"memory.offload": Reading(share, "stated")})
    assert one("memory", found, offload="50 %").status == status


@pytest.mark.parametrize(("extra_ns", "status"), [(-1, "PASS"), (0, "PASS"), (1, "FAIL")])
@pytest.mark.parametrize("text", ["5 us", "19 us", "4.1 ms", "300 ms", "0.3 s", "2 s"])
def test_a_duration_is_judged_to_the_nanosecond(text: str, extra_ns: int, status: str) -> None:
    in_ns = {
        "5 us": 5_000,
        "19 us": 19_000,
        "4.1 ms": 4_100_000,
        "300 ms": 3 * 10**8,
        "0.3 s": 3 * 10**8,
        "2 s": 2 * 10**9,
    }
    found = measured(RequestTiming(0, in_ns[text] + extra_ns, streamed=False))
    assert one("latency", found, e2e_max=text).status == status


@pytest.mark.parametrize(
    ("name", "text", "value", "status"),
    [
        ("kv_waste", "7 %", 0.07, "PASS"),
        ("kv_waste", "7 %", 0.0701, "FAIL"),
        ("offload", "100 %", 1.0, "PASS"),
        ("offload", "100 %", 0.999, "FAIL"),
    ],
)
def test_shares_are_judged_like_any_other(name: str, text: str, value: float, status: str) -> None:
    found = measured(engine_readings={f"memory.{name}": Reading(value, "stated")})
    assert one("memory", found, **{name: text}).status == status


@pytest.mark.parametrize(("settled", "status"), [(100, "PASS"), (95, "PASS"), (101, "FAIL")])
def test_a_limit_of_zero_is_judged_like_any_other(settled: int, status: str) -> None:
    found = measured(memory=trace(100, 120, settled_bytes=settled))
    assert one("memory", found, retained="0 B").status == status


def test_every_limit_that_applies_gets_one_verdict_in_order() -> None:
    found = judge(
        limits("memory", peak="1 KiB", growth="10 B") + limits("latency", ttft_max="100 ms"),
        measured(GOOD, memory=trace(1000, 1020)),
    )
    assert [(v.name, str(v.status)) for v in found] == [
        ("memory.peak", "PASS"), ("memory.growth", "FAIL"), ("latency.ttft_max", "PASS"),
    ]  # fmt: skip


def test_a_test_without_limits_gets_no_verdict() -> None:
    assert judge([], measured(GOOD)) == []


# -------------------------------------------------------------------------------------------------- without a verdict


def test_limits_for_other_engines_and_devices_are_no_pass() -> None:
    found = judge(
        limits("memory", peak="1 GiB", device="NVIDIA H100*")
        + limits("memory", growth="1 GiB", device="NVIDIA H100*")
        + limits("latency", ttft_p50="1 s", engine="ollama", device="NVIDIA L4"),
        measured(engine=L4),
    )
    assert found == [
        Verdict(
            Status.NO_BUDGET,
            "",
            "",
            reason="no budget for vllm on NVIDIA L4; the budgets of this test are for device='NVIDIA H100*', "
            "engine='ollama' device='NVIDIA L4'",
        )
    ]


def test_one_limit_that_applies_is_enough_for_a_verdict() -> None:
    both = limits("memory", peak="1 GiB", device="NVIDIA*") + limits("memory", host_peak="1 GiB")
    assert [v.name for v in judge(both, measured(memory=trace(1, 2)))] == ["memory.host_peak"]


def test_what_was_not_measured_says_why() -> None:
    verdict = one("memory", measured(), peak="1 GiB")
    assert (verdict.status, verdict.measured, verdict.reason) == (Status.NOT_MEASURED, None, "the test used no engine")


def test_a_percentile_of_too_few_samples_is_not_measured_however_good_they_are() -> None:
    verdict = one("latency", measured(*[GOOD] * 129), ttft_p95="9 s")
    assert verdict.status is Status.NOT_MEASURED
    assert verdict.reason == "p95 needs 130 requests, the test gave 129"
    assert one("latency", measured(*[GOOD] * 130), ttft_p95="9 s").status is Status.PASS


def test_a_test_without_an_engine_is_judged_by_none_of_its_limits() -> None:
    verdict = one("memory", measured(engine=None), peak="1 GiB", device="NVIDIA H100*")
    assert (verdict.status, verdict.reason) == (Status.NOT_MEASURED, "the test used no engine")


@pytest.mark.parametrize(
    "flawed",
    [
        {"requests": (GOOD, stream(error="HTTP 500"))},
        {"requests": (GOOD, stream(output_tokens=0))},
        {"faults": ("the engine ended",)},
        {"memory": trace(1000, 1020, fault="a gap of 2 s")},
    ],
    ids=["failed request", "no token", "engine gone", "sampler"],
)
@pytest.mark.parametrize("limit", ["1 B", "1 GiB"])
def test_an_invalid_measurement_neither_passes_nor_fails(flawed: dict[str, Any], limit: str) -> None:
    fields: dict[str, Any] = {"requests": (GOOD,), "memory": trace(1000, 1020), **flawed}
    verdict = one("memory", Measurement(**{**vars(measured()), **fields}), peak=limit)
    assert verdict.status is Status.INVALID
    assert verdict.reason


def test_what_is_invalid_and_not_measured_as_well_is_invalid() -> None:
    verdict = one("latency", measured(stream(error="HTTP 500")), ttft_p95="1 s")
    assert (verdict.status, verdict.reason) == (Status.INVALID, "1 of 1 requests failed, the first with: HTTP 500")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("key", "limit"), [("kv_cache", "1 GiB"), ("offload", "50 %")])
def test_a_number_that_is_none_is_invalid(key: str, limit: str, value: float) -> None:
    found = measured(engine_readings={f"memory.{key}": Reading(value, "stated")})
    verdict = one("memory", found, **{key: limit})
    assert verdict.status is Status.INVALID
    assert verdict.measured is None
    assert verdict.reason == f"the measured value is {value}"


def test_what_was_there_before_the_test_is_judged_though_the_test_went_wrong() -> None:
    failed = measured(stream(error="HTTP 500"), engine_readings={"memory.weights": Reading(100.0, "stated")})
    assert one("memory", failed, weights="1 KiB").status is Status.PASS
    assert one("latency", failed, startup="1 s").status is Status.FAIL


# ------------------------------------------------------------------------------------------------------------- goodput


FAST = stream(100, 110, sent_ms=0, output_tokens=2)
SLOW = stream(700, 710, sent_ms=0, output_tokens=2)
STUTTER = stream(100, 110, 900, sent_ms=0, output_tokens=3)
LATENCY = limits("latency", ttft_p50="300 ms", itl_p95="50 ms")


def goodput(*requests: RequestTiming, latency: Any = LATENCY, text: str = "1 req/s") -> Verdict:
    return judge([*limits("throughput", goodput=text), *latency], measured(*requests))[0]


def test_goodput_counts_requests_that_met_every_latency_limit() -> None:
    closing = whole(0, 2000, output_tokens=1)
    verdict = goodput(FAST, FAST, SLOW, STUTTER, stream(100, 110, end_ns=2 * 10**9, output_tokens=2))
    assert verdict.measured == 1.5
    assert goodput(SLOW, STUTTER).measured == 0.0
    assert goodput(FAST, closing, latency=limits("latency", e2e_max="1 s")).measured == 0.5


def test_a_request_at_its_limits_is_good() -> None:
    edge = stream(300, 350, sent_ms=0, output_tokens=2, end_ns=10**9)
    assert goodput(edge).measured == 1.0
    late = stream(300.001, 350, sent_ms=0, output_tokens=2, end_ns=10**9)
    assert goodput(late).measured == 0.0


def test_of_two_limits_of_one_metric_a_good_request_meets_both() -> None:
    latency = limits("latency", ttft_p50="50 ms", ttft_p95="300 ms")
    assert goodput(FAST, latency=latency).measured == 0.0


def test_the_time_to_load_makes_no_request_good_or_bad() -> None:
    slow_startup = limits("latency", startup="1 ms")
    assert goodput(FAST, latency=[*LATENCY, *slow_startup]).measured == pytest.approx(1 / 0.11)
    assert "add a latency_budget" in goodput(FAST, latency=slow_startup).reason


def test_an_answer_of_one_token_has_no_gap_that_could_be_too_long() -> None:
    single = stream(100, sent_ms=0, output_tokens=1, end_ns=10**9)
    assert (
        goodput(single, latency=limits("latency", ttft_max="300 ms", tpot_max="1 ms", itl_max="1 ms")).measured == 1.0
    )


def test_reasoning_without_an_answer_is_not_good() -> None:
    silent = stream(100, 200, kinds=("reasoning", "reasoning"), output_tokens=2, end_ns=10**9)
    verdict = goodput(silent, latency=limits("latency", ttft_answer_max="9 s"))
    assert verdict.measured == 0.0


@pytest.mark.parametrize(
    ("requests", "latency", "reason"),
    [
        ((FAST,), [], "goodput counts requests that met the latency limits: add a latency_budget to the test"),
        ((), LATENCY, "the test sent no request through llm_client"),
        (
            (FAST, whole(0, 900, output_tokens=3)),
            LATENCY,
            "ttft is not known of every answer: answers were not streamed: use stream=True",
        ),
        (
            (FAST, stream(100, 110, output_tokens=9)),
            LATENCY,
            "itl is not known of every answer: the server sends several tokens in a chunk and does not say how many",
        ),
        ((whole(5, 5, output_tokens=1),), limits("latency", e2e_max="1 s"), "the requests took no time"),
    ],
)
def test_goodput_that_nobody_can_tell_is_not_measured(
    requests: tuple[RequestTiming, ...], latency: Any, reason: str
) -> None:
    verdict = goodput(*requests, latency=latency)
    assert (verdict.status, verdict.measured, verdict.reason) == (Status.NOT_MEASURED, None, reason)


def test_goodput_with_a_failed_request_is_invalid() -> None:
    verdict = goodput(FAST, stream(error="HTTP 503", end_ns=10**9))
    assert (verdict.status, verdict.measured) == (Status.INVALID, 1.0)


def test_goodput_counts_only_the_latency_limits_that_apply_here() -> None:
    elsewhere = limits("latency", ttft_max="1 ms", device="NVIDIA*")
    assert goodput(FAST, latency=[*LATENCY, *elsewhere]).measured == pytest.approx(1 / 0.11)


# -------------------------------------------------------------------------------------------------------- what fails


def test_only_a_fail_breaks_a_test_unless_it_is_strict() -> None:
    every = [hand_made(status, "memory.peak", "memory.peak") for status in Status]
    assert [v.status for v in select_broken(every, strict=False)] == [Status.FAIL]
    assert [v.status for v in select_broken(every, strict=True)] == [
        Status.FAIL, Status.NOT_MEASURED, Status.INVALID, Status.NO_BUDGET, Status.NO_BASELINE,
    ]  # fmt: skip


def test_what_is_broken_comes_before_what_could_not_be_told() -> None:
    unknown, failed = (hand_made(s, "memory.peak", "memory.peak") for s in (Status.INVALID, Status.FAIL))
    assert select_broken([unknown, failed], strict=True) == [failed, unknown]
    assert select_broken([], strict=True) == []
