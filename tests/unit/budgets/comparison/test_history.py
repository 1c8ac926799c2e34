"""A value beside those of earlier runs: what passes, what fails, and what is left open."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.comparison.history import LEAST_RUNS, CompareWithPast, compare_with_past
from pytest_llmperf.budgets.comparison.past import Past, PastValue
from pytest_llmperf.budgets.interval import Confidence, Interval
from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.budgets.verdict import Status, Verdict
from tests.helpers.streams import limits, measured, stream, trace

if TYPE_CHECKING:
    from pytest_llmperf.budgets.compared import Compared
    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.measurement.measurement import Measurement

pytestmark = pytest.mark.once

MIB = 2.0**20
AROUND_300_MS = (0.300, 0.303, 0.297, 0.301, 0.299, 0.304, 0.296, 0.300, 0.302, 0.298)


def past(*values: float, anchor: float | None = None) -> Past:
    fixed = None if anchor is None else PastValue(anchor, name="2026-01-02, 0123abcd")
    return Past(tuple(PastValue(value) for value in values), fixed)


def judged(found: Measurement, earlier: Past, group: str, confidence: Confidence | None = None, **keys: str) -> Verdict:
    compare = CompareWithPast(lambda _limit, _measurement, _engine: earlier)
    [verdict] = judge(limits(group, **keys), found, confidence or Confidence(), compare)
    return verdict


def peak_of(size: float) -> Measurement:
    return measured(memory=trace(0, int(size)))


def slowest(seconds: float) -> Measurement:
    return measured(stream(seconds * 1e3, seconds * 1e3 + 20, output_tokens=2))


# ------------------------------------------------------------------------------------------- memory: compared directly


@pytest.mark.parametrize(
    ("size", "text", "status"),
    [
        (100, "+10 %", "PASS"), (110, "+10 %", "PASS"), (111, "+10 %", "FAIL"), (90, "+10 %", "PASS"),
        (100, "+0 %", "PASS"), (101, "+0 %", "FAIL"), (95, "-5 %", "PASS"), (96, "-5 %", "FAIL"),
    ],
)  # fmt: skip
def test_memory_is_compared_directly_from_the_first_run_on(size: float, text: str, status: str) -> None:
    verdict = judged(peak_of(size * MIB), past(100 * MIB), "memory", peak=text)
    assert (verdict.status, verdict.interval, verdict.baseline) == (status, None, 100 * MIB)


def test_memory_is_as_uncertain_as_the_runs_differ() -> None:
    apart = past(*(100 * MIB * factor for factor in (1.0, 1.03, 0.97, 1.02, 0.98, 1.01)))
    assert judged(peak_of(112 * MIB), apart, "memory", peak="+10 %").status is Status.INCONCLUSIVE
    assert judged(peak_of(140 * MIB), apart, "memory", peak="+10 %").status is Status.FAIL


@pytest.mark.parametrize(("size", "status"), [(0, "PASS"), (4096, "INCONCLUSIVE")])
def test_of_a_baseline_of_nothing_no_share_can_be_taken(size: float, status: str) -> None:
    verdict = judged(peak_of(size), past(0.0, 0.0), "memory", growth="+10 %")
    assert verdict.status == status
    assert verdict.status == "PASS" or "no share can be taken: write a limit with a unit" in verdict.reason


# ------------------------------------------------------------------------------------------------------ what has noise


@pytest.mark.parametrize(
    ("seconds", "status"), [(0.300, "PASS"), (0.250, "PASS"), (0.330, "INCONCLUSIVE"), (0.360, "FAIL")]
)
def test_a_value_passes_or_fails_where_its_whole_interval_does(seconds: float, status: str) -> None:
    verdict = judged(slowest(seconds), past(*AROUND_300_MS), "latency", ttft_max="+10 %")
    assert verdict.status == status
    assert verdict.baseline == pytest.approx(0.3)
    assert verdict.limit == pytest.approx(0.33)
    assert verdict.interval is not None
    assert verdict.interval.units == len(AROUND_300_MS)


def test_a_lower_limit_is_broken_by_less() -> None:
    rates = past(*(1 / value for value in AROUND_300_MS))
    [limit] = limits("throughput", output="-5 %")
    compared = {share: compare_with_past(limit, share / 0.3, None, rates, Confidence()) for share in (1.0, 0.80)}
    assert not compared[0.80].reason
    assert compared[0.80].interval is not None
    assert compared[0.80].interval.high is not None
    assert compared[0.80].interval.high < compared[0.80].allowed
    assert compared[1.0].allowed == pytest.approx(0.95 / 0.3)


@pytest.mark.parametrize("count", range(1, LEAST_RUNS))
def test_few_runs_cannot_tell_and_the_verdict_says_how_many_more_it_takes(count: int) -> None:
    verdict = judged(slowest(9.0), past(*AROUND_300_MS[:count]), "latency", ttft_max="+10 %")
    assert verdict.status is Status.INCONCLUSIVE
    assert f"{LEAST_RUNS - count} more would do" in verdict.reason
    assert verdict.measured_with_interval == "+2900 % (not bounded)" or count > 1


def test_noise_that_is_stated_is_used_until_the_store_knows_it() -> None:
    stated = Confidence(session_noise=0.01)
    assert judged(slowest(0.3), past(0.3), "latency", stated, ttft_max="+10 %").status is Status.PASS
    assert judged(slowest(0.4), past(0.3), "latency", stated, ttft_max="+10 %").status is Status.FAIL
    wide = past(*(0.3 * factor for factor in (1.0, 1.3, 0.7, 1.2, 0.8)))
    assert judged(slowest(0.4), wide, "latency", stated, ttft_max="+10 %").status is Status.INCONCLUSIVE


def test_noise_within_the_session_widens_the_interval() -> None:
    [limit] = limits("latency", ttft_p50="+10 %")
    alone = compare_with_past(limit, 0.3, None, past(*AROUND_300_MS), Confidence())
    noisy = compare_with_past(limit, 0.3, Interval(0.2, 0.45, 20, 20.0, "request"), past(*AROUND_300_MS), Confidence())
    assert alone.interval is not None
    assert noisy.interval is not None
    assert noisy.interval.low == pytest.approx(0.2)
    assert noisy.interval.high == pytest.approx(0.45)
    assert noisy.is_within


def test_fewer_samples_than_the_runs_had_add_noise() -> None:
    [limit] = limits("latency", ttft_p50="+10 %")
    runs = Past(tuple(PastValue(value, samples=1000) for value in AROUND_300_MS))
    within = Interval(0.295, 0.305, 20, 20.0, "request")
    same = compare_with_past(limit, 0.3, within, runs, Confidence(), samples=1000)
    fewer = compare_with_past(limit, 0.3, within, runs, Confidence(), samples=10)
    assert same.interval is not None
    assert fewer.interval is not None
    assert (fewer.interval.high or 0.0) > (same.interval.high or math.inf)


def test_what_sessions_hide_names_what_would_tell() -> None:
    close = judged(slowest(0.329), past(*AROUND_300_MS[:5]), "latency", ttft_max="+10 %")
    assert close.status is Status.INCONCLUSIVE
    assert "sessions differ by" in close.reason
    assert close.reason.endswith("compare two builds in one session instead")
    assert "FAIL beyond +" in close.how
    assert not close.needs_more


def test_one_odd_run_does_not_hide_a_change() -> None:
    odd = past(*AROUND_300_MS[:6], 2.7)
    assert judged(slowest(0.7), odd, "latency", ttft_max="+10 %").status is Status.FAIL
    assert judged(slowest(0.3), odd, "latency", ttft_max="+10 %").status is not Status.FAIL


def test_one_run_that_measured_nothing_does_not_hide_a_change() -> None:
    quiet = [1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 1.0, 1.01, 0.99]
    assert judged(slowest(1.3), past(*quiet, 0.0), "latency", e2e_max="+10 %").status is Status.FAIL
    assert judged(slowest(1.0), past(*quiet, 0.0), "latency", e2e_max="+10 %").status is Status.PASS
    half = judged(slowest(1.3), past(*quiet[:3], 0.0, 0.0, 0.0), "latency", e2e_max="+10 %")
    assert half.status is Status.INCONCLUSIVE


def test_more_of_what_the_session_itself_counts_is_asked_for_in_its_own_units() -> None:
    requests = [stream(1000 * at + 300 + 60 * (at % 5), sent_ms=1000 * at, output_tokens=2) for at in range(20)]
    runs = past(*(value * 1.4 for value in AROUND_300_MS))
    verdict = judged(measured(*requests), runs, "latency", ttft_p50="+10 %")
    assert verdict.status is Status.INCONCLUSIVE
    assert "with 20 requests" in verdict.reason


def test_comparisons_of_a_session_share_the_error() -> None:
    alone = judged(slowest(0.349), past(*AROUND_300_MS), "latency", ttft_max="+10 %")
    among = judged(slowest(0.349), past(*AROUND_300_MS), "latency", Confidence(comparisons=100), ttft_max="+10 %")
    assert (alone.status, among.status) == (Status.FAIL, Status.INCONCLUSIVE)
    assert alone.p_value == pytest.approx(among.p_value, rel=0.2)


def test_the_p_value_is_the_error_at_which_the_limit_would_just_be_broken() -> None:
    [limit] = limits("latency", ttft_max="+10 %")
    found = compare_with_past(limit, 0.340, None, past(*AROUND_300_MS), Confidence())
    assert found.p_value is not None
    for error, broken in ((found.p_value * 2 * 1.01, True), (found.p_value * 2 * 0.99, False)):
        again = compare_with_past(limit, 0.340, None, past(*AROUND_300_MS), Confidence(error=error))
        assert again.interval is not None
        assert ((again.interval.low or 0.0) > again.allowed) is broken


# ---------------------------------------------------------------------------------------------------------- the anchor


def test_a_slow_drift_fails_against_the_anchor() -> None:
    drifted = past(*AROUND_300_MS, anchor=0.240)
    verdict = judged(slowest(0.303), drifted, "latency", ttft_max="+10 %")
    assert verdict.status is Status.FAIL
    assert verdict.baseline == 0.240
    assert verdict.reason.startswith("drift: +1.0 % against the last 10 runs (300 ms)")
    assert "the anchor of main (2026-01-02, 0123abcd)" in verdict.how


@pytest.mark.parametrize("anchor", [0.296, 0.300, 0.310, 0.500])
def test_an_anchor_that_is_no_better_changes_nothing(anchor: float) -> None:
    with_anchor = judged(slowest(0.303), past(*AROUND_300_MS, anchor=anchor), "latency", ttft_max="+10 %")
    assert with_anchor == judged(slowest(0.303), past(*AROUND_300_MS), "latency", ttft_max="+10 %")


@pytest.mark.parametrize("anchor", [math.inf, -math.inf, math.nan, 1e300, 5e-324])
def test_an_anchor_that_nothing_can_be_compared_with_changes_nothing(anchor: float) -> None:
    with_anchor = judged(slowest(0.303), past(*AROUND_300_MS, anchor=anchor), "latency", ttft_max="+10 %")
    assert with_anchor == judged(slowest(0.303), past(*AROUND_300_MS), "latency", ttft_max="+10 %")


@pytest.mark.parametrize("odd", [math.inf, math.nan, 1e300, 5e-324])
def test_a_run_that_nothing_can_be_compared_with_does_not_count(odd: float) -> None:
    with_odd = judged(slowest(0.303), past(odd, *AROUND_300_MS), "latency", ttft_max="+10 %")
    assert with_odd == judged(slowest(0.303), past(*AROUND_300_MS), "latency", ttft_max="+10 %")
    alone = judged(slowest(0.303), past(odd, anchor=odd), "latency", ttft_max="+10 %")
    assert alone.status is Status.NO_BASELINE
    assert alone.reason == "no run of main has a value that can be compared"


@pytest.mark.parametrize("value", [0.0, 1e-100, 1e-9, 1.0, 1e100])
@pytest.mark.parametrize("baseline", [0.0, 1e-100, 1.0, 1e100])
@pytest.mark.parametrize("limit", [*limits("memory", peak="+10 %"), *limits("throughput", output="-5 %")])
def test_whatever_can_be_compared_has_a_result(value: float, baseline: float, limit: Limit) -> None:
    for anchor in (None, 0.0, 1e-100, 1e100):
        for interval in (None, Interval(value, value, 12, 12.0), Interval(0.9 * value, 1.1 * value, 12, 12.0)):
            for count in (1, 6):
                earlier = past(*(baseline,) * count, anchor=anchor)
                found = compare_with_past(limit, value, interval, earlier, Confidence(session_noise=0.05))
                assert found.baseline in (baseline, anchor)


# ------------------------------------------------------------------------------------------------------- no comparison


def test_without_a_baseline_there_is_no_verdict_and_the_value_is_kept() -> None:
    verdict = judged(slowest(0.3), Past(why_none="no run of main has this test"), "latency", ttft_max="+10 %")
    assert verdict.status is Status.NO_BASELINE
    assert verdict.status.without_verdict
    assert verdict.measured == pytest.approx(0.3)
    assert verdict.sentence() == "latency.ttft_max NO BASELINE: no run of main has this test"


def test_without_anything_to_compare_with_a_relative_limit_is_no_baseline() -> None:
    [verdict] = judge(limits("latency", ttft_max="+10 %"), slowest(0.3))
    assert verdict.status is Status.NO_BASELINE


def test_what_was_not_measured_or_is_invalid_is_so_with_a_baseline_too() -> None:
    assert judged(measured(), past(0.3), "latency", ttft_max="+10 %").status is not Status.NO_BASELINE
    few = judged(slowest(0.3), past(*AROUND_300_MS), "latency", ttft_p50="+10 %")
    assert few.status is Status.NOT_MEASURED
    assert few.limit is None


def test_both_kinds_of_limit_are_judged_on_one_metric() -> None:
    compare = CompareWithPast(lambda _limit, _measurement, _engine: past(*AROUND_300_MS))
    both = judge(limits("latency", ttft_max=("1 s", "+10 %")), slowest(0.4), Confidence(), compare)
    assert [(v.status, v.relative, v.limit_text) for v in both] == [("PASS", False, "1 s"), ("FAIL", True, "+10 %")]
    assert both[1].sentence().endswith("> +10 %: 400 ms against 300 ms")


def test_a_relative_limit_is_no_objective_of_goodput() -> None:
    both = [*limits("latency", ttft_max="+10 %"), *limits("throughput", goodput="1 req/s")]
    assert judge(both, slowest(0.3))[-1].status is Status.NOT_MEASURED


# ---------------------------------------------------------------------------------------------------- in the long run


def share_failing(change: float, spread: float, runs: int, limit: Limit, *, seed: int = 7) -> float:
    generator, fails, trials = random.Random(seed), 0, 2000

    def draw() -> float:
        outlier = 1.2 if generator.random() < 0.03 else 1.0
        return math.exp(generator.gauss(0.0, spread)) * outlier

    for _ in range(trials):
        earlier = past(*(draw() for _ in range(runs)))
        found: Compared = compare_with_past(limit, draw() * change, None, earlier, Confidence())
        fails += found.interval is not None and (found.interval.low or 0.0) > found.allowed
    return fails / trials


@pytest.mark.parametrize("runs", [5, 8, 20])
@pytest.mark.parametrize("spread", [0.01, 0.05])
def test_a_build_at_its_limit_seldom_fails(spread: float, runs: int) -> None:
    [limit] = limits("latency", ttft_max="+10 %")
    # Beside 1 % for the bounds there are the 3 % of sessions that are outliers themselves.
    assert share_failing(1.1, spread, runs, limit) < 0.045
    assert share_failing(1.0, spread, runs, limit) <= 0.03
