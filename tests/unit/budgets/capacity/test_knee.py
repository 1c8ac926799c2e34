"""Where the knee of a limit is, from shares of values above it at several rates."""

from __future__ import annotations

import math

import pytest

from pytest_llmperf.budgets.capacity.knee import ShareAtRate, find_knee

RATES = (8.0, 9.0, 9.6, 10.4, 11.0, 12.0)


def on_a_line(rate: float, knee: float, slope: float, count: float = 1000, alike: float = 1.0) -> ShareAtRate:
    """A point of a share whose odds rise with the rate to the power of the slope; 5 % at the knee."""
    odds = 0.05 / 0.95 * (rate / knee) ** slope
    return ShareAtRate(rate, odds / (1 + odds), count, count / alike)


@pytest.mark.parametrize("slope", [4.0, 10.0, 25.0])
@pytest.mark.parametrize("knee", [9.0, 10.0, 11.0])
def test_shares_on_a_line_give_its_knee_and_slope(knee: float, slope: float) -> None:
    found = find_knee([on_a_line(rate, knee, slope) for rate in RATES], 0.05)
    assert found.median == pytest.approx(knee, rel=0.02)
    assert found.slope == pytest.approx(slope, rel=0.3)
    assert found.find_quantile(0.01) < knee < found.find_quantile(0.99)


def test_values_that_are_alike_say_less() -> None:
    def width(alike: float) -> float:
        found = find_knee([on_a_line(rate, 10, 10, alike=alike) for rate in RATES], 0.05)
        return math.log(found.find_quantile(0.99) / found.find_quantile(0.01))

    assert width(1) < width(4) < width(16)


def test_points_that_are_all_good_bound_the_knee_from_below_only() -> None:
    found = find_knee([ShareAtRate(5.0, 0.0, 80, 80), ShareAtRate(10.0, 0.0, 80, 80)], 0.05)
    assert found.find_quantile(0.05) > 8
    assert found.find_quantile(0.95) > 40


def test_points_that_are_all_bad_bound_the_knee_from_above_only() -> None:
    found = find_knee([ShareAtRate(5.0, 1.0, 80, 80), ShareAtRate(10.0, 1.0, 80, 80)], 0.05)
    assert found.find_quantile(0.95) < 5
    assert found.find_quantile(0.05) < 1


def test_a_run_of_luck_does_not_weigh_more_than_one_with_a_crowd() -> None:
    """By themselves the values without a crowd look independent, and those with one hardly."""
    lucky, crowded = ShareAtRate(10.0, 0.02, 400, 400), ShareAtRate(10.0, 0.08, 400, 40)
    assert find_knee([lucky, crowded], 0.05).median == pytest.approx(10.0, rel=0.03)


def test_what_lies_far_from_the_knee_hardly_moves_it() -> None:
    near = [on_a_line(rate, 10, 10) for rate in RATES]
    bent = ShareAtRate(20.0, 0.6, 100_000, 100_000)
    assert find_knee([*near, bent], 0.05).median == pytest.approx(find_knee(near, 0.05).median, rel=0.02)


def test_quantiles_ascend() -> None:
    found = find_knee([on_a_line(rate, 10, 10, count=50) for rate in RATES], 0.05)
    quantiles = [found.find_quantile(share / 100) for share in range(1, 100)]
    assert quantiles == sorted(quantiles)
    assert found.find_quantile(1.0) >= quantiles[-1]
