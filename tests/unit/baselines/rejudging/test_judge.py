"""Stored measurements are judged as live ones are, and what was INVALID never becomes a PASS."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.baselines.rejudging.judge import judge_again
from pytest_llmperf.budgets.interval import Confidence
from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.parts import label_parts
from tests.helpers.device_samples import ENERGY, THROTTLED, on
from tests.helpers.simulated_sessions import make_entry, make_report, measure_session
from tests.helpers.streams import CPU, L4, limits, measured, stream, trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.measurement.measurement import Measurement

pytestmark = pytest.mark.once

GOOD = measure_session(1)
FAILED = stream(error="HTTP 500: boom")
MEASUREMENTS: dict[str, Measurement] = {
    "good": GOOD,
    "many requests": measure_session(2, count=800),
    "few requests": measure_session(3, count=5),
    "one request": measure_session(4, count=1),
    "failed requests": replace(GOOD, requests=(*GOOD.requests, FAILED)),
    "nothing": measured(),
    "faults": replace(GOOD, faults=("the engine restarted",)),
    "disturbed": replace(GOOD, disturbances=("others asked the engine meanwhile",)),
    "sampler stalled": replace(GOOD, memory=trace(1, 2, fault="the sampler stalled for 2.0 s")),
    "throttled": replace(GOOD, devices=(on(trace(1, 2), energy=ENERGY, conditions=THROTTLED),), engine=L4, memory=None),
    "until decided": replace(GOOD, looks=3, round_starts_ns=(0,)),
}


def stored_test(measurement: Measurement, given: Sequence[Limit] = ()) -> dict[str, Any]:
    [test] = make_report(make_entry(measurement, given))["tests"]
    return test  # type: ignore[no-any-return]


def make_limits(scale: float) -> list[Limit]:
    """Limits on each kind of metric, from hopeless to generous."""
    return [
        *limits("latency", **{f"ttft_{at}": f"{200 * scale:.6f} ms" for at in ("p50", "p75", "p95", "p99", "max")}),
        *limits("latency", **{f"itl_{at}": f"{5 * scale:.6f} ms" for at in ("p50", "p97_5", "max")}),
        *limits("latency", startup=f"{2.5 * scale:.6f} s", tpot_p50=f"{5 * scale:.6f} ms"),
        *limits("throughput", output=f"{33 / scale:.6f} tok/s", requests=f"{4 / scale:.6f} req/s"),
        *limits("throughput", per_user=f"{200 / scale:.6f} tok/s"),
        *limits("memory", peak=f"{2**30 * scale:.0f} B", weights="1 GiB"),
        *limits("energy", total=f"{300 * scale:.6f} J"),
    ]


@pytest.mark.parametrize("session_noise", [None, 0.02])
@pytest.mark.parametrize("name", MEASUREMENTS)
def test_a_stored_verdict_is_never_better_nor_worse_than_a_live_one(name: str, session_noise: float | None) -> None:
    """But for what lies within a bucket of the limit, or where it depends on how much a disturbance changed."""
    measurement = MEASUREMENTS[name]
    test, agreed, all_of_them = stored_test(measurement), 0, 0
    for scale in (0.5, 0.9, 0.97, 1.0, 1.03, 1.1, 2.0, 4.0):
        asked = make_limits(scale)
        confidence = Confidence(session_noise=session_noise)
        confidence = confidence.at_each_look() if measurement.looks is not None else confidence
        live = {v.name: v for v in judge(asked, measurement, confidence)}
        again = {v.name: v for v in judge_again(asked, test, session_noise)}
        assert again.keys() == live.keys()
        for key, verdict in again.items():
            agreed += verdict.status is live[key].status
            all_of_them += 1
            if verdict.status in (Status.PASS, Status.FAIL):
                assert verdict.status is live[key].status, (scale, verdict, live[key])
            assert (verdict.status is Status.NOT_MEASURED) <= (live[key].status is not Status.PASS)
            assert verdict.reason or verdict.status in (Status.PASS, Status.FAIL)
    assert agreed >= 0.9 * all_of_them


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_the_limits_of_the_test_keep_their_verdicts(name: str) -> None:
    asked = make_limits(1.02)
    before = make_entry(MEASUREMENTS[name], asked).verdicts
    after = judge_again(asked, stored_test(MEASUREMENTS[name], asked), None)
    assert [(v.name, v.status, v.measured, v.reason) for v in after] == [
        (v.name, v.status, v.measured, v.reason) for v in before
    ]


@pytest.mark.parametrize("name", ["failed requests", "faults", "disturbed", "sampler stalled"])
def test_what_is_invalid_stays_so_under_any_limit(name: str) -> None:
    generous = [
        *limits("latency", ttft_p50="1 us"),
        *limits("memory", peak="1 TiB"),
        *limits("throughput", output="1e6 tok/s"),
    ]
    found = {v.name: v for v in judge_again(generous, stored_test(MEASUREMENTS[name]), None)}
    tainted = {"sampler stalled": {"memory.peak"}, "disturbed": {"latency.ttft_p50", "throughput.output"}}
    for key in tainted.get(name, set(found)):
        assert found[key].status is Status.INVALID
        assert found[key].reason


def test_a_disturbance_that_makes_numbers_worse_leaves_a_pass() -> None:
    [verdict] = judge_again(limits("latency", ttft_p50="10 s"), stored_test(MEASUREMENTS["throttled"]), None)
    assert verdict.status is Status.PASS


def judge_goodput(test: dict[str, Any], goodput: str, ttft: str) -> Verdict:
    asked = [*limits("latency", ttft_p50=ttft), *limits("throughput", goodput=goodput)]
    return next(v for v in judge_again(asked, test, None) if v.metric == "throughput.goodput")


def test_goodput_is_judged_again_only_for_the_latencies_that_it_was_counted_for() -> None:
    asked = [*limits("latency", ttft_p50="1 s"), *limits("throughput", goodput="1 req/s")]
    test = stored_test(GOOD, asked)
    assert judge_goodput(test, "1 req/s", "1 s").status is Status.PASS
    assert judge_goodput(test, "2 req/s", "1 s").status is Status.PASS
    assert judge_goodput(test, "40 req/s", "1 s").status is Status.FAIL
    other = judge_goodput(test, "1 req/s", "2 s")
    assert other.status is Status.NOT_MEASURED
    assert "these are others" in other.reason
    assert "no limit on throughput.goodput" in judge_goodput(stored_test(GOOD), "1 req/s", "1 s").reason


def test_globs_apply_as_in_a_run() -> None:
    test = stored_test(GOOD)
    [verdict] = judge_again(limits("memory", peak="2 GiB", device="NVIDIA*"), test, None)
    assert (verdict.status, verdict.name) == (Status.NO_BUDGET, "")
    assert "no budget for llamacpp on AMD EPYC 7B13" in verdict.reason
    [verdict] = judge_again(limits("memory", peak="2 GiB", device="AMD*", engine="llama*"), test, None)
    assert verdict.status is Status.PASS


def test_a_limit_that_names_an_engine_is_for_its_part() -> None:
    parts = label_parts(
        [replace(GOOD, engine=CPU, label="llamacpp"), replace(measure_session(5, 3.0), engine=L4, label="vllm")]
    )
    test = stored_test(replace(GOOD, engine=None, parts=parts))
    asked = [*limits("latency", ttft_p50="300 ms", engine="vllm"), *limits("latency", ttft_p50="300 ms")]
    whole, part = judge_again(asked, test, None)
    assert (whole.engine, whole.status) == ("", Status.PASS)
    assert (part.engine, part.status) == (parts[1].label, Status.FAIL)


def test_what_was_not_measured_or_stored_says_so() -> None:
    empty: dict[str, Any] = {"nodeid": "t", "outcome": "failed", "duration_s": 0.0, "verdicts": [], "measurement": {}}
    [verdict] = judge_again(limits("memory", peak="2 GiB"), empty, None)
    assert verdict.status is Status.NOT_MEASURED
    assert judge_again([], empty, None) == []
    [relative] = judge_again(limits("memory", peak="+2 %"), stored_test(GOOD), None)
    assert relative.status is Status.NO_BASELINE
    test = stored_test(GOOD)
    test["measurement"]["evidence"] = {}
    [verdict] = judge_again(limits("throughput", output="1 tok/s"), test, None)
    assert verdict.status is Status.INVALID
    assert "how far the truth may be" in verdict.reason
