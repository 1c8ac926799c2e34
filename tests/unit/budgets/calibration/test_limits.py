"""What is said of a limit comes true: by the judge, in simulated sessions of the same build and of worse ones."""

from __future__ import annotations

import math
import random
from functools import cache
from statistics import fmean
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.calibration.limits import FOUND, find_fitting_limit, judge_limit
from pytest_llmperf.budgets.calibration.series import SessionSeries, SessionValue
from pytest_llmperf.budgets.interval import Confidence, Interval, find_interval
from pytest_llmperf.metrics.evidence import RateUnits, RequestValues
from pytest_llmperf.metrics.statistics import Statistic

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.budgets.interval import Better

pytestmark = pytest.mark.once

MEDIAN = Statistic(50.0)
CALIBRATIONS, LATER_SESSIONS = 30, 40


def simulate_latency(generator: random.Random, shift: float, between: float) -> SessionValue:
    """p50 of 60 requests in one session; a positive ``shift`` makes it worse."""
    centre = math.log(0.2) + shift + between * generator.gauss(0, 1)
    values = [[math.exp(centre + 0.15 * generator.gauss(0, 1))] for _ in range(60)]
    evidence = RequestValues(values, is_per_request=True)
    value = MEDIAN.of(evidence.ordered)
    return SessionValue(value, find_interval(evidence, MEDIAN, value, "lower", Confidence()), 0.15 * 1.25 / 60**0.5)


def simulate_rate(generator: random.Random, shift: float, between: float) -> SessionValue:
    """A rate from 20 slices of one session; a positive ``shift`` makes it worse."""
    centre = math.log(800) - shift + between * generator.gauss(0, 1)
    evidence = RateUnits([math.exp(centre + 0.08 * generator.gauss(0, 1)) for _ in range(20)], [1.0] * 20, "slice")
    value = fmean(evidence.counts)
    return SessionValue(value, find_interval(evidence, None, value, "higher", Confidence()), 0.08 / 20**0.5)


KINDS: dict[str, tuple[Callable[[random.Random, float, float], SessionValue], Better]] = {
    "latency": (simulate_latency, "lower"),
    "rate": (simulate_rate, "higher"),
}


def judge(session: SessionValue, limit: float, better: Better) -> str:
    """As the judge does it: by the whole interval."""
    assert session.interval is not None
    low, high = session.interval.low, session.interval.high
    assert low is not None
    assert high is not None
    if better == "lower":
        return "PASS" if high <= limit else "FAIL" if low > limit else "INCONCLUSIVE"
    return "PASS" if low >= limit else "FAIL" if high < limit else "INCONCLUSIVE"


@cache
def calibrate_often(kind: str, between: float, sessions: int) -> dict[str, float]:
    """How fitting limits from so many sessions did, and what was said of them, on average over many calibrations."""
    simulate, better = KINDS[kind]
    generator = random.Random(f"{kind} {between} {sessions}")
    later = [simulate(generator, 0.0, between) for _ in range(300)]
    sums: dict[str, float] = dict.fromkeys(("fails", "said fails", "inconclusive", "said inconclusive", "found"), 0.0)
    for _ in range(CALIBRATIONS):
        series = SessionSeries([simulate(generator, 0.0, between) for _ in range(sessions)], better)
        limit = find_fitting_limit(series)
        assert limit is not None
        said = judge_limit(series, limit)
        assert said.finds is not None
        shift = math.log1p(said.finds) if better == "lower" else -math.log1p(-said.finds)
        good = [judge(session, limit, better) for session in later]
        bad = [judge(simulate(generator, shift, between), limit, better) for _ in range(LATER_SESSIONS)]
        sums["fails"] += good.count("FAIL") / len(good)
        sums["inconclusive"] += good.count("INCONCLUSIVE") / len(good)
        sums["said fails"] += said.fails
        sums["said inconclusive"] += said.inconclusive
        sums["found"] += bad.count("FAIL") / len(bad)
    return {name: value / CALIBRATIONS for name, value in sums.items()}


CASES = [(kind, between, sessions) for kind in KINDS for between in (0.01, 0.05) for sessions in (4, 10)]


@pytest.mark.parametrize(("kind", "between", "sessions"), CASES)
def test_a_fitting_limit_fails_few_good_builds_and_passes_most(kind: str, between: float, sessions: int) -> None:
    found = calibrate_often(kind, between, sessions)
    assert found["fails"] <= 0.02
    assert found["inconclusive"] <= 0.15
    assert found["said fails"] <= 0.0101
    assert abs(found["inconclusive"] - found["said inconclusive"]) <= 0.12


@pytest.mark.parametrize(("kind", "between", "sessions"), CASES)
def test_it_finds_what_it_is_said_to_find(kind: str, between: float, sessions: int) -> None:
    assert calibrate_often(kind, between, sessions)["found"] >= FOUND - 0.06


@pytest.mark.parametrize("kind", KINDS)
def test_the_probability_of_a_wrong_fail_is_that_of_the_judge(kind: str) -> None:
    """For a limit so tight that good builds often fail it."""
    simulate, better = KINDS[kind]
    generator = random.Random(kind)
    sessions = [simulate(generator, 0.0, 0.05) for _ in range(400)]
    series = SessionSeries(sessions, better)
    for place in (-0.06, 0.0, 0.06):
        limit = series.find_value(series.middle + place)
        said, judged = judge_limit(series, limit), [judge(one, limit, better) for one in sessions]
        assert said.fails == pytest.approx(judged.count("FAIL") / 400, abs=0.04)
        assert said.inconclusive == pytest.approx(judged.count("INCONCLUSIVE") / 400, abs=0.1)


def make_exact(*values: float, better: Better = "lower", unit: str = "B") -> SessionSeries:
    return SessionSeries([SessionValue(value) for value in values], better, unit)


def test_memory_that_is_always_the_same_gets_a_little_room() -> None:
    series = make_exact(*[1000.0] * 10)
    fitting = find_fitting_limit(series)
    assert fitting == pytest.approx(1006, abs=1)
    assert fitting is not None
    said = judge_limit(series, fitting)
    assert said.fails <= 0.01
    assert said.inconclusive == 0.0
    assert said.finds == pytest.approx(0.009, abs=0.001)
    assert not said.has_room


def test_a_metric_that_has_been_zero_is_judged_in_its_unit() -> None:
    mebi = 2.0**20
    series = make_exact(0.0, mebi, 0.0, 0.0, -mebi)
    said = judge_limit(series, 64 * mebi)
    assert said.fails < 1e-4
    assert said.finds is None
    assert not said.has_room
    assert 2 * mebi < (find_fitting_limit(series) or 0) < 6 * mebi
    assert judge_limit(make_exact(0.0, 0.0, unit="1"), 0.0).fails == 0.0


@pytest.mark.parametrize(
    ("better", "limit", "has_room"),
    [
        ("lower", 2100.0, True),
        ("lower", 1900.0, False),
        ("higher", 450.0, True),
        ("higher", 550.0, False),
    ],
)
def test_room_for_a_build_twice_as_bad_is_named(better: Better, limit: float, has_room: bool) -> None:
    series = make_exact(990.0, 1000.0, 1010.0, 1000.0, better=better, unit="tok/s")
    assert judge_limit(series, limit).has_room is has_room


def test_no_limit_fits_where_a_session_does_not_bound_its_value() -> None:
    series = SessionSeries([SessionValue(0.2, Interval(None, None, 1, 1.0, "request"), 0.1)] * 3, "lower")
    assert find_fitting_limit(series) is None
    said = judge_limit(series, 0.3)
    assert (said.fails, said.inconclusive, said.finds) == (0.0, 1.0, None)


def test_an_impossible_limit_always_fails() -> None:
    assert judge_limit(make_exact(1.0, 1.1, 1.2), 0.0).fails == 1.0
    assert judge_limit(make_exact(1.0, 1.1, 1.2, better="higher"), 0.0).fails == 0.0


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_a_limit_against_the_baseline_gets_room_for_both_sessions(better: Better) -> None:
    generator = random.Random(8)
    series = SessionSeries([SessionValue(math.exp(0.02 * generator.gauss(0, 1))) for _ in range(20)], better)
    share = find_fitting_limit(series, relative=True)
    assert share is not None
    assert 0.05 < abs(share) < 0.12
    assert (share > 0) is (better == "lower")
    said = judge_limit(series, share, relative=True)
    assert said.fails < 0.001
    assert said.inconclusive == pytest.approx(0.1, abs=0.001)
    assert judge_limit(series, share / 10, relative=True).inconclusive > 0.5
    assert find_fitting_limit(make_exact(0.0, 1.0), relative=True) is None
