"""How far the truth may be from a value, and the three verdicts that follow."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.budgets.confidence.percentiles import bound_by_spread
from pytest_llmperf.budgets.interval import Confidence, count_missing, find_interval
from pytest_llmperf.budgets.judge import judge, select_broken
from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.measurement.load import Load
from pytest_llmperf.measurement.parts import label_parts
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.metrics.evidence import RateUnits
from tests.helpers.device_samples import ENERGY, on
from tests.helpers.streams import L4, limits, measured, stream, trace

if TYPE_CHECKING:
    from collections.abc import Sequence

MS = 10**6


def judge_ttft(milliseconds: Sequence[float], limit: str = "300 ms", **confidence: Any) -> Verdict:
    """p95 of these times to first token, of requests one after another."""
    requests = [stream(1000 * at + ms, sent_ms=1000 * at, output_tokens=1) for at, ms in enumerate(milliseconds)]
    [verdict] = judge(limits("latency", ttft_p95=limit), measured(*requests), Confidence(**confidence))
    return verdict


def lognormal(count: int, p95: float, seed: int = 1) -> list[float]:
    """Independent milliseconds with this true p95."""
    generator = random.Random(seed)
    return [p95 * math.exp(0.3 * (generator.gauss(0, 1) - 1.645)) for _ in range(count)]


def test_a_percentile_passes_where_its_whole_interval_is_inside() -> None:
    verdict = judge_ttft(lognormal(400, 200))
    assert verdict.status is Status.PASS
    assert verdict.interval is not None
    assert verdict.interval.high is not None
    assert verdict.measured is not None
    assert verdict.measured <= verdict.interval.high <= 0.3
    assert verdict.interval.units == 400


def test_it_fails_where_its_whole_interval_is_outside() -> None:
    verdict = judge_ttft(lognormal(400, 450))
    assert verdict.status is Status.FAIL
    assert verdict.interval is not None
    assert verdict.interval.low is not None
    assert 0.3 < verdict.interval.low <= (verdict.measured or 0)


@pytest.mark.parametrize("p95", [290, 300, 310])
def test_between_it_is_inconclusive_and_says_what_would_decide(p95: float) -> None:
    verdict = judge_ttft(lognormal(200, p95))
    assert verdict.status is Status.INCONCLUSIVE
    assert verdict.reason.startswith("too close to 300 ms to tell with 200 requests")
    assert "more would" in verdict.reason
    assert verdict.interval_text in verdict.sentence()


def test_a_single_request_over_its_limit_does_not_fail_a_good_build() -> None:
    assert judge_ttft([*[200.0] * 129, 900.0]).status is Status.PASS


def test_values_alike_in_time_bound_less() -> None:
    generator, level, alike = random.Random(3), 0.0, []
    for _ in range(400):
        level = 0.95 * level + generator.gauss(0, math.sqrt(1 - 0.95**2))
        alike.append(250 * math.exp(0.3 * (level - 1.645)))
    apart = generator.sample(alike, len(alike))
    correlated, independent = judge_ttft(alike), judge_ttft(apart)
    assert correlated.measured == independent.measured
    assert correlated.interval is not None
    assert independent.interval is not None
    assert correlated.interval.effective < 60 < 200 < independent.interval.effective
    assert correlated.interval.high is None or correlated.interval.high > (independent.interval.high or math.inf)


@pytest.mark.parametrize("count", [11, 12, 16, 30])
def test_a_drift_beyond_the_limit_is_told_without_a_number_of_requests(count: int) -> None:
    requests = [stream(1000 * at + 203 - 90 * at / count, sent_ms=1000 * at, output_tokens=1) for at in range(count)]
    [verdict] = judge(limits("latency", ttft_p50="100 ms"), measured(*requests))
    assert verdict.status in (Status.INCONCLUSIVE, Status.FAIL)


def test_slow_requests_that_come_in_bursts_are_worth_fewer() -> None:
    bursts = [600.0 if at % 100 < 6 else 200.0 + at % 7 for at in range(400)]
    spread = random.Random(1).sample(bursts, len(bursts))
    together, apart = judge_ttft(bursts), judge_ttft(spread)
    assert together.interval is not None
    assert apart.interval is not None
    assert together.interval.effective < 0.5 * apart.interval.effective


def test_a_bound_lies_outside_of_the_values_that_were_seen_where_there_are_few() -> None:
    low, high = bound_by_spread([1.0, 1.0, 1.0, 5.0], 0.5, 4.0, 0.01)
    assert low <= 1.0
    assert high >= 5.0


def test_noise_between_sessions_widens_the_interval() -> None:
    quiet, known = judge_ttft(lognormal(400, 250)), judge_ttft(lognormal(400, 250), session_noise=0.1)
    assert quiet.status is Status.PASS
    assert known.status is Status.INCONCLUSIVE
    assert quiet.interval is not None
    assert known.interval is not None
    assert (known.interval.high or 0) > (quiet.interval.high or math.inf)
    assert (known.interval.low or math.inf) < (quiet.interval.low or 0)


@pytest.mark.parametrize(("milliseconds", "status"), [(200, Status.PASS), (280, Status.INCONCLUSIVE)])
def test_it_does_so_on_both_sides_of_values_that_are_all_the_same(milliseconds: float, status: Status) -> None:
    verdict = judge_ttft([milliseconds] * 130, session_noise=0.05)
    assert verdict.status is status
    assert verdict.interval is not None
    assert (verdict.interval.low or math.inf) < milliseconds / 1000 < (verdict.interval.high or 0)


def test_the_largest_value_is_compared_as_it_is() -> None:
    [verdict] = judge(limits("latency", ttft_max="300 ms"), measured(stream(301, output_tokens=1)))
    assert (verdict.status, verdict.interval) == (Status.FAIL, None)


def test_gaps_of_one_slow_request_of_many_are_not_many_slow_gaps() -> None:
    """The share of gaps over the limit is above 1 %, and all of them are of a few requests."""
    quick = [stream(*range(0, 500, 10), output_tokens=50) for _ in range(690)]
    slow = [stream(*range(0, 2500, 50), output_tokens=50) for _ in range(10)]
    mixed = [request for at in range(10) for request in [*quick[69 * at : 69 * at + 69], slow[at]]]
    [verdict] = judge(limits("latency", itl_p99="40 ms"), measured(*mixed))
    assert verdict.measured == 0.05
    assert verdict.status is Status.INCONCLUSIVE
    assert verdict.interval is not None
    assert verdict.interval.effective <= 700


# --------------------------------------------------------------------------------------------------------------- rates


def run_rounds(tokens_per_second: Sequence[float], **confidence: Any) -> Verdict:
    """Each round sends two requests at once that take a second."""
    starts = [at * 10**9 for at in range(len(tokens_per_second))]
    requests = [
        RequestTiming(start, start + 10**9, streamed=False, output_tokens=round(rate / 2))
        for start, rate in zip(starts, tokens_per_second, strict=True)
        for _ in range(2)
    ]
    found = measured(*requests, rounds=len(starts), round_starts_ns=tuple(starts))
    [verdict] = judge(limits("throughput", output="100 tok/s"), found, Confidence(**confidence))
    return verdict


@pytest.mark.parametrize(("rate", "status"), [(50, Status.FAIL), (100, Status.INCONCLUSIVE), (200, Status.PASS)])
def test_one_round_is_judged_by_the_noise_that_is_assumed(rate: float, status: Status) -> None:
    verdict = run_rounds([rate])
    assert verdict.status is status
    assert verdict.interval is not None
    assert (verdict.interval.units, verdict.interval.unit) == (1, "round")


def test_more_rounds_tell_more() -> None:
    one, many = run_rounds([106]), run_rounds([104, 108, 106, 105, 107, 106, 104, 108])
    assert (one.status, many.status) == (Status.INCONCLUSIVE, Status.PASS)
    assert run_rounds([94, 96, 95, 94, 96, 95, 94, 96]).status is Status.FAIL


def test_rounds_that_differ_tell_less() -> None:
    verdict = run_rounds([60, 150, 90, 140, 80, 160, 70, 100])
    assert verdict.status is Status.INCONCLUSIVE
    assert "8 rounds" in verdict.reason


@pytest.mark.parametrize(
    ("session_noise", "truth", "status", "percent"),
    [
        (0.02, 0.90, Status.PASS, 99.9),
        (0.02, 0.95, Status.PASS, 70),
        (0.02, 1.10, Status.FAIL, 97),
        (0.02, 1.14, Status.FAIL, 100),
        (0.05, 0.90, Status.PASS, 65),
        (0.05, 0.95, Status.PASS, 25),
        (0.05, 1.10, Status.FAIL, 32),
        (0.05, 1.14, Status.FAIL, 60),
        (0.05, 1.20, Status.FAIL, 89),
    ],
)
def test_known_noise_between_sessions_leaves_what_it_allows(
    session_noise: float, truth: float, status: Status, percent: float
) -> None:
    """Rates of 8 rounds that differ by 3 %; ``percent`` is what normal errors of known size would allow."""
    generator, trials, found = random.Random(11), 150, Counter[Status]()
    for _ in range(trials):
        session = truth * math.exp(generator.gauss(0, session_noise))
        counts = [1 / (session * math.exp(generator.gauss(0, 0.03))) for _ in range(8)]
        found[judge_rate(counts, session_noise)] += 1
    binomial_error = 100 * math.sqrt(0.01 * percent * (1 - 0.01 * percent) / trials)
    assert 100 * found[status] / trials > percent - 3 - 2 * binomial_error
    assert found[Status.FAIL if status is Status.PASS else Status.PASS] <= 1


def judge_rate(counts: Sequence[float], session_noise: float) -> Status:
    """A rate whose limit is 1, from what was counted in rounds of a second."""
    value, confidence = math.fsum(counts) / len(counts), Confidence(session_noise=session_noise)
    found = find_interval(RateUnits(counts, [1.0] * len(counts), "round"), None, value, "higher", confidence)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    return Status.PASS if found.low >= 1 else Status.FAIL if found.high < 1 else Status.INCONCLUSIVE


def test_noise_between_sessions_pays_for_one_look_only() -> None:
    """A session is the same at each look: only what its rounds tell is looked at again."""
    counts = [1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 1.0, 1.0]
    rounds = RateUnits(counts, [1.0] * 8, "round")
    once, often = Confidence(session_noise=0.05), Confidence(session_noise=0.05).at_each_look()
    found = [find_interval(rounds, None, 1.0, "higher", confidence) for confidence in (once, often)]
    assert found[0] is not None
    assert found[1] is not None
    assert 1 < (1 - (found[1].low or 0)) / (1 - (found[0].low or 0)) < 1.3


def test_a_verdict_that_sessions_hide_points_to_a_comparison() -> None:
    rounds = RateUnits([100.0 + at % 2 for at in range(40)], [1.0] * 40, "round")
    assert count_missing(rounds, None, 100.5, 98, "higher", Confidence(session_noise=0.05)) is None
    verdict = run_rounds([103, 104] * 20, session_noise=0.05)
    assert verdict.status is Status.INCONCLUSIVE
    assert "sessions differ by 5 %" in verdict.reason
    assert "compare two builds in one session" in verdict.reason
    assert not verdict.needs_more
    percentile = judge_ttft(lognormal(400, 280), session_noise=0.1)
    assert "sessions differ by 10 %" in percentile.reason
    assert not percentile.needs_more


def judge_goodput(met: Sequence[bool], limit: str = "0.95 req/s") -> Verdict:
    """A request a second, of which some take longer than their limit."""
    requests = [
        RequestTiming(at * 10**9, at * 10**9 + (500 if good else 999) * MS, streamed=False, output_tokens=1)
        for at, good in enumerate(met)
    ]
    return judge([*limits("throughput", goodput=limit), *limits("latency", e2e_max="600 ms")], measured(*requests))[0]


def test_goodput_allows_for_requests_that_met_their_limits_by_chance() -> None:
    assert judge_goodput([True] * 10).status is Status.INCONCLUSIVE
    assert judge_goodput([True] * 200).status is Status.PASS
    assert judge_goodput([at % 4 > 0 for at in range(200)]).status is Status.FAIL


def test_a_single_request_that_missed_is_no_goodput_of_nothing() -> None:
    assert judge_goodput([False]).status is Status.INCONCLUSIVE
    assert judge_goodput([False] * 100).status is Status.FAIL


def test_a_goodput_that_is_not_decided_says_how_many_more_would_do() -> None:
    verdict = judge_goodput([True] * 10)
    assert verdict.needs_more
    assert "more would do" in verdict.reason


def test_loads_of_different_rates_in_one_test_are_no_noise_of_each_other() -> None:
    def send(start_ms: int, every_ms: int, count: int) -> list[RequestTiming]:
        return [
            RequestTiming(at * MS, (at + 400) * MS, streamed=False, output_tokens=20)
            for at in range(start_ms, start_ms + every_ms * count, every_ms)
        ]

    slow, fast = send(0, 400, 25), send(11_000, 50, 200)
    loads = (Load("one", Window(0, 10_000 * MS)), Load("two", Window(11_400 * MS, 21_000 * MS)))
    [verdict] = judge(limits("throughput", output="150 tok/s"), measured(*slow, *fast, loads=loads))
    assert verdict.status is Status.PASS


def test_the_stretches_of_a_load_that_grew_differ_by_noise() -> None:
    """Each is steady in itself, so that as loads of their own they would seem to be without noise."""
    requests, spans = [], []
    for start_s, tokens in zip(range(0, 60, 10), (20, 40, 25, 35, 30, 28), strict=True):
        spans.append(Window(start_s * 10**9, (start_s + 8) * 10**9))
        requests += [
            RequestTiming((start_s + at) * 10**9, (start_s + at + 1) * 10**9, streamed=False, output_tokens=tokens)
            for at in range(8)
        ]
    grown = (Load("grown", Window(0, 58 * 10**9), stretches=tuple(spans)),)
    apart = tuple(Load("apart", span) for span in spans)
    [noisy], [steady] = (
        judge(limits("throughput", output="26 tok/s"), measured(*requests, loads=loads)) for loads in (grown, apart)
    )
    assert noisy.measured == steady.measured == pytest.approx(sum((20, 40, 25, 35, 30, 28)) / 6)
    assert (noisy.status, steady.status) == (Status.INCONCLUSIVE, Status.PASS)


def test_loads_that_rounds_repeat_differ_by_the_noise_of_their_rounds() -> None:
    """Each is steady in itself, so that its slices alone would seem to be without noise."""

    def judge_rounds(tokens_of_rounds: Sequence[int]) -> Verdict:
        requests, loads, starts = [], [], []
        for at, tokens in enumerate(tokens_of_rounds):
            starts.append(30 * at * 10**9)
            for begun_s in (30 * at + 1, 30 * at + 15):
                loads.append(Load("x", Window(begun_s * 10**9, (begun_s + 12) * 10**9)))
                requests += [
                    RequestTiming(
                        (begun_s + s) * 10**9, (begun_s + s + 1) * 10**9, streamed=False, output_tokens=tokens
                    )
                    for s in range(12)
                ]
        found = measured(*requests, loads=tuple(loads), rounds=len(starts), round_starts_ns=tuple(starts))
        [verdict] = judge(limits("throughput", output="26 tok/s"), found)
        return verdict

    few, many = judge_rounds((20, 40, 30)), judge_rounds((20, 40, 25, 35, 30, 28))
    assert many.measured == pytest.approx(sum((20, 40, 25, 35, 30, 28)) / 6)
    assert many.interval is not None
    assert (many.interval.units, many.interval.unit) == (6, "round")
    assert (few.status, many.status) == (Status.INCONCLUSIVE, Status.INCONCLUSIVE)


def test_rounds_that_go_on_until_they_decide_are_never_judged_by_what_lies_within_one() -> None:
    requests = [RequestTiming(at * 10**9, (at + 1) * 10**9, streamed=False, output_tokens=30) for at in range(12)]
    load = Load("x", Window(0, 12 * 10**9))
    grown = replace(load, stretches=(Window(0, 6 * 10**9), Window(6 * 10**9, 12 * 10**9)))
    units = []
    for loads, looks in (((), None), ((load,), None), ((), 0), ((load,), 0), ((grown,), 0)):
        found = measured(*requests, loads=loads, looks=looks, round_starts_ns=(0,))
        [verdict] = judge(limits("throughput", output="26 tok/s"), found)
        assert verdict.interval is not None
        units.append(verdict.interval.unit)
    assert units == ["request", "slice", "round", "round", "slice"]


def test_loads_at_the_same_time_are_counted_over_the_time_that_passed() -> None:
    requests = [RequestTiming(at * 10**9, (at + 1) * 10**9, streamed=False, output_tokens=50) for at in range(10)]
    loads = (Load("one", Window(0, 10 * 10**9)), Load("two", Window(0, 10 * 10**9)))
    [verdict] = judge(limits("throughput", output="1 tok/s"), measured(*requests, *requests, loads=loads))
    assert verdict.measured == pytest.approx(100)


def test_repeated_rounds_of_requests_that_differ_are_the_units() -> None:
    lengths = [(400, 40), (900, 60)] * 8
    starts = [1000 * at for at in range(len(lengths))]
    requests = [
        RequestTiming(start * MS, (start + ms) * MS, streamed=False, output_tokens=tokens)
        for start, (ms, tokens) in zip(starts, lengths, strict=True)
    ]
    found = measured(*requests, rounds=8, round_starts_ns=tuple(start * MS for start in starts[::2]))
    [verdict] = judge(limits("throughput", output="45 tok/s"), found)
    assert verdict.interval is not None
    assert (verdict.interval.units, verdict.interval.unit) == (8, "round")
    assert verdict.status is Status.PASS


def test_what_lies_between_rounds_counts_into_no_rate() -> None:
    """The engine forgets its prompts between two rounds, which takes a while."""
    starts = [at * 3 * 10**9 for at in range(4)]
    requests = [
        RequestTiming(start, start + 10**9, streamed=False, output_tokens=50) for start in starts for _ in range(2)
    ]
    found = measured(*requests, rounds=4, round_starts_ns=tuple(starts))
    [verdict] = judge(limits("throughput", output="50 tok/s"), found)
    assert verdict.measured == 100
    assert verdict.interval is not None
    assert (verdict.interval.units, verdict.interval.unit) == (4, "round")
    reaching = RequestTiming(starts[1], starts[2] + 1, streamed=False, output_tokens=0)
    assert len(measured(*requests, reaching, rounds=4, round_starts_ns=tuple(starts)).spans) == 1


def test_engines_that_differ_by_intention_are_no_noise_of_each_other() -> None:
    """A test asks a fast engine, then one that is three times as slow: the limits hold for both together."""
    quick = [request_at(300 * at, 300 - at % 3) for at in range(12)]
    slow = [request_at(3600 + 900 * at, 900 - at % 3) for at in range(12)]
    parts = label_parts([measured(*quick, engine=L4), measured(*slow, engine=L4)])
    whole = replace(measured(*quick, *slow, engine=L4), parts=parts)
    wanted = [*limits("throughput", output="75 tok/s"), *limits("latency", e2e_p50="1 s")]
    [rate, latency], [mixed_rate, mixed_latency] = judge(wanted, whole), judge(wanted, replace(whole, parts=()))
    assert (rate.status, latency.status) == (Status.PASS, Status.PASS)
    assert width_of(rate) < 0.3 * width_of(mixed_rate)
    assert effective_of(latency) > 2 * effective_of(mixed_latency)


def request_at(start_ms: int, ms: int) -> RequestTiming:
    return RequestTiming(start_ms * MS, (start_ms + ms) * MS, streamed=False, output_tokens=50)


def width_of(verdict: Verdict) -> float:
    assert verdict.interval is not None
    return math.log((verdict.interval.high or math.inf) / (verdict.interval.low or 0))


def effective_of(verdict: Verdict) -> float:
    assert verdict.interval is not None
    return verdict.interval.effective


def test_requests_one_after_another_are_units() -> None:
    requests = [RequestTiming(at * 10**9, at * 10**9 + 900 * MS, streamed=False, output_tokens=100) for at in range(12)]
    [verdict] = judge(limits("throughput", output="90 tok/s"), measured(*requests))
    assert verdict.interval is not None
    assert (verdict.interval.units, verdict.interval.unit) == (12, "request")
    assert verdict.status is Status.PASS


def test_the_steady_part_of_a_load_is_cut_into_slices() -> None:
    requests = [
        RequestTiming(at * 50 * MS, at * 50 * MS + 400 * MS, streamed=False, output_tokens=20) for at in range(200)
    ]
    load = Load("200 requests", Window(400 * MS, 9900 * MS))
    [verdict] = judge(limits("throughput", output="300 tok/s"), measured(*requests, loads=(load,)))
    assert verdict.interval is not None
    assert (verdict.interval.units, verdict.interval.unit) == (20, "slice")
    assert verdict.status is Status.PASS
    assert verdict.measured == pytest.approx(400, rel=0.02)


def test_a_rate_of_nothing_fails_without_an_interval() -> None:
    found = measured(RequestTiming(0, 10**9, streamed=False, output_tokens=0, finish_reason="stop"))
    verdicts = judge(limits("throughput", output="1 tok/s"), found)
    assert verdicts[0].status in (Status.FAIL, Status.INVALID)
    assert verdicts[0].interval is None


# ---------------------------------------------------------------------------------------------------- the test's fate


def test_an_inconclusive_budget_fails_only_where_it_is_asked_to() -> None:
    verdict = judge_ttft(lognormal(200, 300))
    assert select_broken([verdict], strict=True) == []
    assert select_broken([verdict], strict=False, inconclusive=True) == [verdict]


@pytest.mark.parametrize(
    ("joules", "status"),
    [(94.0, Status.PASS), (96.0, Status.INCONCLUSIVE), (104.0, Status.INCONCLUSIVE), (106.0, Status.FAIL)],
)
def test_energy_within_the_accuracy_of_its_sensor_is_inconclusive(joules: float, status: Status) -> None:
    device = on(trace(0, 1024), energy=replace(ENERGY, joules=joules))
    [verdict] = judge(limits("energy", total="100 J"), measured(engine=L4, devices=(device,)))
    assert verdict.status is status
    assert ("sensor" in verdict.reason) == (status is Status.INCONCLUSIVE)
