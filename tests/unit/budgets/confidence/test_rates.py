"""The bounds of a rate."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from pytest_llmperf.budgets.confidence.rates import ASSUMED_NOISE, ASSUMED_WEIGHT, bound_rate, estimate_noise


def test_one_unit_has_the_noise_that_is_assumed() -> None:
    assert estimate_noise([500.0], [10.0]) == pytest.approx((ASSUMED_NOISE, ASSUMED_WEIGHT))


def test_many_units_have_the_noise_that_they_show() -> None:
    generator = random.Random(4)
    counts = [100 * math.exp(generator.gauss(0, 0.03)) for _ in range(400)]
    noise, freedom = estimate_noise(counts, [1.0] * 400)
    assert noise == pytest.approx(0.03 / 20, rel=0.3)
    assert freedom == pytest.approx(400, rel=0.3)


def test_units_of_different_length_are_noisy_only_where_their_rates_differ() -> None:
    spans = [1.0, 2.0, 5.0, 0.5] * 25
    steady, _ = estimate_noise([80 * span for span in spans], spans)
    uneven, _ = estimate_noise([80 * span * (1 + 0.2 * (-1) ** (at // 2)) for at, span in enumerate(spans)], spans)
    assert steady == pytest.approx(ASSUMED_NOISE * math.sqrt(ASSUMED_WEIGHT / 100 / 99 / 100), rel=0.01)
    assert uneven > 3 * steady


def test_a_drift_makes_the_noise_larger() -> None:
    drifting = [100.0 + unit for unit in range(40)]
    shuffled = random.Random(1).sample(drifting, 40)
    assert estimate_noise(drifting, [1.0] * 40)[0] > 2 * estimate_noise(shuffled, [1.0] * 40)[0]


def test_the_bounds_are_those_of_t_on_the_logarithm() -> None:
    low, high = bound_rate(200.0, 0.02, 9, 0.01)
    assert math.log(high / 200) == pytest.approx(stats.t.ppf(0.99, 9) * 0.02)
    assert low * high == pytest.approx(200.0**2)
