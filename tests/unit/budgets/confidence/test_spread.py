"""The chi-square distribution, and bounds of a standard deviation, against scipy."""

from __future__ import annotations

import random

import pytest
from scipy import special, stats

from pytest_llmperf.budgets.confidence.spread import bound_deviation, chi_square_quantile, incomplete_gamma

pytestmark = pytest.mark.once

_random = random.Random(20261129)


def test_the_incomplete_gamma_function_agrees_with_scipy() -> None:
    for _ in range(300):
        a = 10 ** _random.uniform(-1, 4)
        x = _random.gammavariate(a, 1)
        assert incomplete_gamma(a, x) == pytest.approx(special.gammainc(a, x), rel=1e-9, abs=1e-290), (a, x)
    assert incomplete_gamma(2.0, 0.0) == 0.0


@pytest.mark.parametrize("freedom", [1, 2, 2.5, 9, 40, 1000])
@pytest.mark.parametrize("probability", [0.005, 0.05, 0.5, 0.95, 0.995])
def test_quantiles_of_chi_square_agree_with_scipy(probability: float, freedom: float) -> None:
    expected = stats.chi2.ppf(probability, freedom)
    assert chi_square_quantile(probability, freedom) == pytest.approx(expected, rel=1e-9)


def test_the_bounds_of_a_deviation_hold_as_often_as_they_say() -> None:
    wrong = [0, 0]
    for _ in range(2000):
        values = [_random.gauss(0, 3) for _ in range(6)]
        mean = sum(values) / 6
        low, high = bound_deviation((sum((v - mean) ** 2 for v in values) / 5) ** 0.5, 5, 0.05)
        wrong[0] += low > 3
        wrong[1] += high < 3
    assert all(70 <= count <= 130 for count in wrong)
