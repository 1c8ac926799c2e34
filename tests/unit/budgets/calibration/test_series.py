"""The noise between sessions is what the noise within them does not explain."""

from __future__ import annotations

import math
import random

import pytest

from pytest_llmperf.budgets.calibration.series import SessionSeries, SessionValue


def draw(between: float, within: float, count: int, seed: int = 3) -> SessionSeries:
    generator = random.Random(seed)
    noise = math.hypot(between, within)
    return SessionSeries(
        [SessionValue(math.exp(noise * generator.gauss(0, 1)), noise=within) for _ in range(count)], "lower"
    )


@pytest.mark.parametrize(("between", "within"), [(0.05, 0.01), (0.03, 0.03)])
def test_the_noise_between_sessions_is_found(between: float, within: float) -> None:
    series = draw(between, within, 2000)
    assert series.noise_within == pytest.approx(within)
    assert series.noise_between == pytest.approx(between, rel=0.1)
    low, high = series.noise_between_bounds
    assert low < series.noise_between < high
    assert low == pytest.approx(high, rel=0.2)


def test_noise_within_that_explains_all_leaves_none_between() -> None:
    series = draw(0.0, 0.05, 10)
    assert series.noise_between_bounds[0] == 0.0
    assert series.noise_between < 0.05


def test_the_bounds_hold_as_often_as_they_say() -> None:
    wrong = [0, 0]
    for seed in range(1000):
        low, high = draw(0.04, 0.0, 5, seed).noise_between_bounds
        wrong[0] += low > 0.04
        wrong[1] += high < 0.04
    assert all(30 <= count <= 75 for count in wrong)


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_a_worse_value_lies_higher_and_places_are_found_back(better: str) -> None:
    series = SessionSeries([SessionValue(1.0), SessionValue(2.0)], better)  # type: ignore[arg-type]
    assert (series.place(2.0) > series.place(1.0)) is (better == "lower")
    assert series.find_value(series.place(1.7)) == pytest.approx(1.7)
    assert series.median == 1.5


def test_chance_does_not_make_a_build_quieter_than_a_session_knows_itself_to_be() -> None:
    series = SessionSeries([SessionValue(1.0, noise=0.03)] * 3, "lower")
    assert series.total_noise == 0.0
    assert series.spread == pytest.approx(0.03 * math.sqrt(4 / 3))
