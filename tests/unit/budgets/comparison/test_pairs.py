"""Limits that are judged by pairs of turns on two engines."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.comparison.changes import MOST_PAIRS
from pytest_llmperf.budgets.comparison.pairs import (
    Pair,
    PairedLimit,
    SideValue,
    choose_limits,
    find_tolerance,
    read_turn,
    refuse_pairs,
)
from pytest_llmperf.budgets.verdict import Status, Verdict
from tests.helpers.streams import limits, measured, stream, trace

if TYPE_CHECKING:
    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.measurement.measurement import Measurement

pytestmark = pytest.mark.once

Given = list[tuple[float | SideValue, float | SideValue]]


def judge(limit: Limit, pairs: Given) -> tuple[Verdict, int]:
    """The verdict, and after how many pairs it was decided."""
    paired = PairedLimit(limit, "new", "old")
    for new, old in pairs:
        if not paired.is_open:
            break
        paired.add(Pair(as_side(new), as_side(old)))
    return paired.judge(), len(paired.pairs)


def as_side(value: float | SideValue) -> SideValue:
    return value if isinstance(value, SideValue) else SideValue(value, requests=1)


def one(group: str, **arguments: object) -> Limit:
    (limit,) = limits(group, **arguments)
    return limit


E2E = one("latency", e2e_max="+10 %")
OUTPUT = one("throughput", output="-5 %")


def noisy(ratio: float, noise: float = 0.02, count: int = MOST_PAIRS) -> Given:
    generator = random.Random(3)
    return [(ratio * generator.lognormvariate(0, noise), generator.lognormvariate(0, noise)) for _ in range(count)]


@pytest.mark.parametrize(
    ("limit", "ratio", "status"),
    [
        (E2E, 1.3, "FAIL"),
        (E2E, 1.0, "PASS"),
        (E2E, 0.5, "PASS"),
        (OUTPUT, 0.8, "FAIL"),
        (OUTPUT, 1.0, "PASS"),
        (OUTPUT, 2.0, "PASS"),
    ],
)
def test_a_clear_change_is_decided_before_the_last_pair(limit: Limit, ratio: float, status: str) -> None:
    verdict, count = judge(limit, noisy(ratio))
    assert verdict.status == status
    assert 3 <= count < MOST_PAIRS


def test_the_verdict_tells_both_values_and_the_change_with_its_bounds() -> None:
    verdict, _ = judge(one("memory", peak="1 GiB"), [(SideValue(3 * 2**20, is_exact=True), 2**21)] * 3)
    assert (verdict.status, verdict.limit_text, verdict.relative) == (Status.FAIL, "+10 %", True)
    assert (verdict.measured, verdict.baseline) == (3 * 2**20, 2**21)
    assert verdict.how.startswith("new 3.00 MiB, old 2.00 MiB, +50.0 % (")
    assert verdict.how.endswith("), 3 pairs")
    assert verdict.limit == pytest.approx(1.1 * 2**21)


def test_what_stays_close_to_the_limit_is_inconclusive_after_all_pairs() -> None:
    verdict, count = judge(E2E, noisy(1.1))
    assert (verdict.status, count) == (Status.INCONCLUSIVE, MOST_PAIRS)
    assert verdict.reason == "too close to +10 % to tell with 24 pairs"


def test_a_verdict_that_a_look_has_given_stays() -> None:
    paired = PairedLimit(E2E, "new", "old")
    for new, old in [*noisy(1.0, count=12), *noisy(3.0, count=12)]:
        paired.add(Pair(as_side(new), as_side(old)))
    assert paired.judge().status == Status.PASS
    assert len(paired.to_wire()) == MOST_PAIRS


@pytest.mark.parametrize(
    ("without", "status", "reason"),
    [
        (SideValue(None, invalid="1 of 2 requests failed"), "INVALID", "2 of 3 pairs have no value, the first: 1 of 2"),
        (SideValue(None, missing="no driver"), "NOT MEASURED", "2 of 3 pairs have no value, the first: no driver"),
        (SideValue(0.0), "NOT MEASURED", "2 of 3 pairs have no value, the first: a ratio needs values above 0"),
    ],
)
def test_pairs_without_a_value_are_never_dropped_in_silence(without: SideValue, status: str, reason: str) -> None:
    verdict, count = judge(E2E, [(1.0, 1.0), (without, 1.0), (1.0, without), (1.0, 1.0)])
    assert (verdict.status, count) == (status, 3)
    assert verdict.reason.startswith(reason)


def test_a_new_engine_that_gives_nothing_of_what_should_be_high_fails() -> None:
    verdict, count = judge(OUTPUT, [(0.0, 50.0)] * MOST_PAIRS)
    assert (verdict.status, count) == (Status.FAIL, 5)
    assert verdict.how == "new 0.00 tok/s, old 50.0 tok/s, -100 % (-100 to -100), 5 pairs"
    assert (verdict.measured, verdict.baseline) == (0.0, 50.0)
    assert judge(OUTPUT, [(0.0, 50.0)] * 4)[0].status == Status.NOT_MEASURED


@pytest.mark.parametrize(
    ("limit", "pairs"), [(OUTPUT, [(0.0, 50.0), (50.0, 0.0)]), (OUTPUT, [(50.0, 0.0)]), (E2E, [(0.0, 1.0)])]
)
def test_nothing_on_another_side_or_of_what_should_be_low_is_not_measured(limit: Limit, pairs: Given) -> None:
    assert judge(limit, pairs * MOST_PAIRS)[0].status == Status.NOT_MEASURED


def test_a_single_pair_that_is_left_out_is_named() -> None:
    lost = SideValue(None, invalid="the engine ended")
    verdict, _ = judge(E2E, [(lost, 1.0), *noisy(1.0)])
    assert verdict.status == Status.PASS
    assert verdict.how.endswith(" pairs, 1 left out: the engine ended")


@pytest.mark.parametrize(
    ("ratio", "lag", "status"),
    [
        (1.3, None, "FAIL"),
        (1.0, None, "INVALID"),  # how late the client was is not known
        (1.0, 0.01, "PASS"),
        (1.05, 0.6, "INVALID"),  # without the lag it is 0.45 against 0.4
        (1.0, 1.5, "INVALID"),
    ],
)
def test_what_was_added_to_both_sides_undoes_a_pass_that_it_may_have_made(
    ratio: float, lag: float | None, status: str
) -> None:
    def late(value: float | SideValue) -> SideValue:
        assert isinstance(value, float)
        return SideValue(value, 1, diluted="late", undiluted=None if lag is None else value - lag)

    verdict, _ = judge(E2E, [(late(new), late(old)) for new, old in noisy(ratio, noise=0.005)])
    assert verdict.status == status
    assert ("the first: late" in verdict.reason) is (status == "INVALID")


def test_a_percentile_needs_its_requests_over_all_pairs_on_each_side() -> None:
    p50 = one("latency", e2e_p50="+10 %")
    for requests, status, count in ((2, "PASS", 6), (4, "PASS", 3), (0, "NOT MEASURED", MOST_PAIRS)):
        sides = [(SideValue(1.0, requests), SideValue(1.0, 100))] * MOST_PAIRS
        verdict, given = judge(p50, list(sides))
        assert verdict.status == status
        assert given >= count
    assert verdict.reason == "p50 needs 11 requests, 24 pairs gave 0"


def test_a_test_that_ends_early_is_judged_by_what_it_has() -> None:
    assert judge(E2E, [])[0].reason == "3 pairs are needed, the test gave 0"
    assert judge(E2E, noisy(1.0, count=2))[0].status == Status.NOT_MEASURED


@pytest.mark.parametrize(
    ("limit", "tolerance"),
    [
        (E2E, (0.1, "+10 %")),
        (OUTPUT, (-0.05, "-5 %")),
        (one("latency", e2e_max="1 s"), (0.1, "+10 %")),
        (one("throughput", output="9 tok/s"), (-0.1, "-10 %")),
    ],
)
def test_without_a_relative_limit_10_percent_for_the_worse_are_allowed(
    limit: Limit, tolerance: tuple[float, str]
) -> None:
    assert find_tolerance(limit) == tolerance


def test_each_metric_is_judged_once_by_its_relative_limit() -> None:
    both = limits("latency", e2e_max=("1 s", "+3 %"), ttft_max="1 s")
    assert [limit.text for limit in choose_limits(both, None)] == ["+3 %", "1 s"]
    assert [verdict.limit_text for verdict in refuse_pairs(both, None, "why")] == ["+3 %", "+10 %"]


# ----------------------------------------------------------------------------------------------------- one turn of it


def turn(limit: Limit, *rounds: Measurement) -> SideValue:
    return read_turn(limit, rounds, [limit])


def test_the_value_of_a_turn_is_the_geometric_mean_of_its_rounds() -> None:
    peaks = [measured(memory=trace(0, size)) for size in (2**20, 2**22)]
    found = turn(one("memory", peak="1 GiB"), *peaks)
    assert found.value == pytest.approx(2**21)
    assert found.is_exact


def test_the_percentile_of_a_round_is_the_plain_one_whatever_its_requests() -> None:
    found = turn(one("latency", ttft_p50="1 s"), measured(stream(100, 120, output_tokens=2)))
    assert found.value == pytest.approx(0.1)
    assert (found.requests, found.is_exact) == (1, False)


@pytest.mark.parametrize(
    ("limit", "measurement", "invalid", "missing"),
    [
        (E2E, measured(stream(100, 120, output_tokens=2), faults=("the engine ended",)), "the engine ended", ""),
        (E2E, measured(stream(100, 120, output_tokens=2), disturbances=("a stranger",)), "a stranger", ""),
        (one("memory", peak="1 GiB"), measured(memory_missing="no driver"), "", "no driver"),
        (one("latency", startup="1 s"), measured(), "", "it is known from one start of each engine"),
    ],
)
def test_a_round_that_says_nothing_of_its_engine_says_why(
    limit: Limit, measurement: Measurement, invalid: str, missing: str
) -> None:
    found = turn(limit, measurement)
    assert found.value is None
    assert (found.invalid[: len(invalid)], found.missing[: len(missing)]) == (invalid, missing)
    assert bool(found.invalid) is bool(invalid)
