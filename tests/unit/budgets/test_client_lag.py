from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.budgets.validity import why_disturbed, why_invalid
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.load import ClientHealth, Lag, Load
from pytest_llmperf.measurement.request import StampLag
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.metrics.statistics import Statistic
from pytest_llmperf.metrics.table import METRICS
from tests.helpers.streams import MS, limits, measured, stream

if TYPE_CHECKING:
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import Way


def fault(metric: str, measurement: Measurement, statistic: Statistic | None = None) -> str:
    """Why a limit that does not hold would not be judged."""
    return why_disturbed(METRICS[metric], measurement, statistic, holds=False)


CALM = Lag(0.0001, 0.0003, 0.001, 0.050)


def sent_by(loop_lag: Lag = CALM, schedule_lag: Lag | None = CALM, cpu_share: float = 0.3) -> Measurement:
    """Answers with 200 ms to the first token, and 20 ms between tokens, 400 ms in all; one takes ten times as long."""
    requests = [stream(*range(200, 401, 20), output_tokens=11) for _ in range(10)]
    slow = stream(*range(2000, 4001, 200), output_tokens=11)
    health = ClientHealth("asyncio", loop_lag, cpu_share, schedule_lag)
    return measured(*requests, slow, loads=(Load("", Window(0, 4001 * MS), health),))


def late(ms: float) -> Lag:
    """Late by so much in the median, and by ten times that at worst."""
    return Lag(ms / 1e3, ms / 1e3, ms / 1e3, ms / 1e2)


def test_a_client_in_time_is_no_reason_however_late_it_was_once() -> None:
    assert fault("latency.ttft", sent_by(), Statistic(50.0)) == ""
    assert fault("latency.ttft", sent_by(), Statistic(99.0)) == ""


@pytest.mark.parametrize(
    ("metric", "allowed_ms"),
    [("ttft", 20), ("ttft_answer", 20), ("e2e", 40), ("tpot", 40), ("itl", 5), ("chunk_gap", 5)],
)
@pytest.mark.parametrize("which", ["loop_lag", "schedule_lag"])
def test_a_client_late_by_more_than_a_tenth_of_what_it_measures_invalidates_it(
    metric: str, allowed_ms: float, which: str
) -> None:
    p50 = Statistic(50.0)
    assert fault(f"latency.{metric}", sent_by(**{which: late(allowed_ms)}), p50) == ""  # type: ignore[arg-type]
    reason = fault(f"latency.{metric}", sent_by(**{which: late(allowed_ms + 0.1)}), p50)  # type: ignore[arg-type]
    assert "late by" in reason
    assert "(p50)" in reason


def test_a_tail_is_compared_with_the_tail_of_the_lag() -> None:
    assert fault("latency.ttft", sent_by(late(20)), Statistic(None)) == ""
    assert "late by 201 ms (max)" in fault("latency.ttft", sent_by(late(20.1)), Statistic(None))


@pytest.mark.parametrize(("percent", "name"), [(1, "p50"), (50, "p50"), (75, "p90"), (95, "p99"), (99.9, "max")])
def test_a_percentile_has_the_next_one_that_is_known_of_the_lag(percent: float, name: str) -> None:
    assert Lag(1, 2, 3, 4).at(percent) == (name, {"p50": 1, "p90": 2, "p99": 3, "max": 4}[name])
    assert Lag(1, 2, 3, 4).at(None) == ("max", 4)


def test_rates_suffer_in_proportion_to_the_length_of_requests() -> None:
    assert fault("throughput.output", sent_by(loop_lag=late(40))) == ""
    assert "late by" in fault("throughput.goodput", sent_by(loop_lag=late(41)))


def test_a_client_that_took_all_of_its_core_invalidates_times_and_rates_but_not_memory() -> None:
    busy = sent_by(cpu_share=0.97)
    expected = "the client took 97 % of its core, more than 90 %"
    assert fault("latency.itl", busy) == fault("throughput.output", busy) == expected
    assert fault("memory.peak", busy) == ""


def test_a_tolerated_share_of_failures_is_no_fault() -> None:
    requests = [*(stream(10, output_tokens=1) for _ in range(98)), *(stream(error="HTTP 500") for _ in range(2))]
    loads = {rate: (Load("", Window(0, MS), max_error_rate=rate),) for rate in (0.01, 0.02)}
    ttft = METRICS["latency.ttft"]
    assert why_invalid(ttft, measured(*requests, loads=loads[0.02])) == ""
    assert why_invalid(ttft, measured(*requests, loads=loads[0.01])).startswith("2 of 100 requests failed")


# --------------------------------------------------------------------------------------- whether it decides a verdict


def judge_ttft(limit: str, **lag: Lag) -> Status:
    [verdict] = judge(limits("latency", ttft_p50=limit), sent_by(**lag))  # type: ignore[arg-type]
    return verdict.status


@pytest.mark.parametrize("which", ["loop_lag", "schedule_lag"])
def test_a_late_client_changes_only_a_verdict_that_it_may_have_decided(which: str) -> None:
    """A p50 of 200 ms, of which 50 ms may be the client's own."""
    lag = {which: Lag(0.05, 0.05, 0.05, 0.05)}
    assert judge_ttft("300 ms", **lag) is Status.PASS
    assert judge_ttft("180 ms", **lag) is Status.INVALID
    assert judge_ttft("100 ms", **lag) is Status.FAIL
    assert judge_ttft("180 ms") is Status.FAIL


def test_a_late_client_can_make_gaps_shorter_or_longer() -> None:
    """A p50 of 20 ms, which may be 50 ms more or less."""
    lag = Lag(0.05, 0.05, 0.05, 0.05)
    found = {limit: judge(limits("latency", itl_p50=limit), sent_by(loop_lag=lag))[0].status for limit in GAPS}
    assert found == GAPS


GAPS = {"1 s": Status.PASS, "60 ms": Status.INVALID, "10 ms": Status.INVALID}


def test_a_rate_is_judged_where_the_lag_makes_no_difference() -> None:
    """Requests take 400 ms in the median, of which 100 ms may be the client's own: the rate may be a third higher."""
    requests = [stream(*range(at + 200, at + 401, 20), sent_ms=at, output_tokens=11) for at in range(0, 4000, 400)]
    lag = Lag(0.1, 0.1, 0.1, 0.1)
    load = Load("", Window(0, 4000 * MS), ClientHealth("asyncio", lag, 0.3))
    found = measured(*requests, loads=(load,))
    statuses = [
        judge(limits("throughput", output=limit), found)[0].status for limit in ("10 tok/s", "45 tok/s", "100 tok/s")
    ]
    assert statuses == [Status.PASS, Status.INVALID, Status.FAIL]


# ------------------------------------------------------------------------------------- the lag of each request alone


def seen_by(way: Way, late_ms: float, *, slow_ms: float = 0) -> Measurement:
    """Answers with 200 ms to the first token and 20 ms between tokens, of which one may be slower, stamped late."""
    late_ns = round(late_ms * MS)
    requests = [
        replace(stream(*range(200, 401, 20), output_tokens=11), lag=StampLag(way, late_ns, late_ns)) for _ in range(11)
    ]
    if slow_ms:
        requests.append(replace(stream(slow_ms, slow_ms + 200, output_tokens=11), lag=StampLag(way, 0, 0)))
    return measured(*requests)


WAYS: tuple[Way, ...] = ("call", "list", "app")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("group", "key", "passing", "undecided", "failing"),
    [
        # 200 ms, of which the client may have made twice 25 ms.
        ("latency", "ttft_max", "200 ms", "160 ms", "140 ms"),
        ("latency", "e2e_max", "400 ms", "360 ms", "340 ms"),
        # 20 ms, of which 25 ms may be too much or too little.
        ("latency", "itl_max", "50 ms", "44 ms", ""),
        ("latency", "chunk_gap_max", "50 ms", "19 ms", ""),
    ],
)
def test_each_way_to_ask_is_judged_by_what_its_lag_may_have_changed(
    way: Way, group: str, key: str, passing: str, undecided: str, failing: str
) -> None:
    found = seen_by(way, 25)
    [passes] = judge(limits(group, **{key: passing}), found)
    [open_] = judge(limits(group, **{key: undecided}), found)
    assert passes.status is Status.PASS
    assert (open_.status, "was late by 50.0 ms (max)" in open_.reason) == (Status.INVALID, True)
    if failing:
        [fails] = judge(limits(group, **{key: failing}), found)
        assert fails.status is Status.FAIL


def test_a_request_that_was_in_time_breaks_its_limit_however_late_others_were() -> None:
    found = seen_by("call", 200, slow_ms=900)
    [verdict] = judge(limits("latency", ttft_max="890 ms"), found)
    assert verdict.status is Status.FAIL


def test_an_error_of_its_two_ends_is_spread_over_an_answer() -> None:
    found = seen_by("call", 50)
    statuses = [judge(limits("latency", tpot_max=limit), found)[0].status for limit in ("25 ms", "24 ms", "14 ms")]
    assert statuses == [Status.PASS, Status.INVALID, Status.FAIL]


def test_goodput_fails_only_if_requests_break_their_limits_without_the_lag_too() -> None:
    def judge_goodput(ttft: str) -> Status:
        asked = [*limits("throughput", goodput="20 req/s"), *limits("latency", ttft_max=ttft)]
        return {v.metric: v.status for v in judge(asked, seen_by("call", 45))}["throughput.goodput"]

    assert [judge_goodput(limit) for limit in ("150 ms", "100 ms")] == [Status.INVALID, Status.FAIL]


def test_a_lag_of_less_than_a_time_slice_is_that_of_an_ordinary_host() -> None:
    [verdict] = judge(limits("latency", ttft_max="199 ms"), seen_by("call", 2.4))
    assert verdict.status is Status.FAIL


def test_what_is_inconclusive_stays_so_beside_a_late_client() -> None:
    lag = StampLag("call", 20 * MS, 20 * MS)
    requests = [replace(stream(at, at + 20, output_tokens=2), lag=lag) for at in range(100, 300, 10)]
    [verdict] = judge(limits("latency", ttft_p50="205 ms"), measured(*requests))
    assert verdict.status is Status.INCONCLUSIVE
