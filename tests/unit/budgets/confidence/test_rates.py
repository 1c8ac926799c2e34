"""The bounds of a rate."""

from __future__ import annotations

import math
import random

import pytest

from pytest_llmperf.budgets.confidence.rates import (
    ASSUMED_NOISE,
    ASSUMED_WEIGHT,
    MOST_FREEDOM,
    combine_noise,
    count_freedom,
    estimate_noise,
)

pytestmark = pytest.mark.once


def test_one_unit_has_the_noise_that_is_assumed() -> None:
    assert estimate_noise([500.0], [10.0]) == pytest.approx((ASSUMED_NOISE, 1.0))


def test_many_units_have_the_noise_that_they_show() -> None:
    generator = random.Random(4)
    counts = [100 * math.exp(generator.gauss(0, 0.03)) for _ in range(400)]
    noise, effective = estimate_noise(counts, [1.0] * 400)
    assert noise == pytest.approx(0.03 / 20, rel=0.3)
    assert effective == pytest.approx(400, rel=0.3)


def test_units_of_different_length_are_noisy_only_where_their_rates_differ() -> None:
    spans = [1.0, 2.0, 5.0, 0.5] * 25
    steady, _ = estimate_noise([80 * span for span in spans], spans)
    uneven, _ = estimate_noise([80 * span * (1 + 0.2 * (-1) ** (at // 2)) for at, span in enumerate(spans)], spans)
    assert steady == pytest.approx(ASSUMED_NOISE * math.sqrt(ASSUMED_WEIGHT / 1000 / 99 / 100), rel=0.01)
    assert uneven > 3 * steady


def test_a_drift_makes_the_noise_larger() -> None:
    drifting = [100.0 + unit for unit in range(40)]
    shuffled = random.Random(1).sample(drifting, 40)
    assert estimate_noise(drifting, [1.0] * 40)[0] > 2 * estimate_noise(shuffled, [1.0] * 40)[0]


def test_loads_that_differ_by_intention_are_no_noise() -> None:
    counts = [10.0] * 10 + [200.0] * 10
    mixed, _ = estimate_noise(counts, [1.0] * 20)
    apart, effective = estimate_noise(counts, [1.0] * 20, [0] * 10 + [1] * 10)
    assert apart < 0.02 < 0.15 < mixed
    assert effective == 20


def test_the_noise_of_a_single_unit_is_known_as_well_as_it_is_assumed() -> None:
    assert count_freedom(1.0) == ASSUMED_WEIGHT
    assert count_freedom(100.0) == pytest.approx(99, rel=0.01)


def test_a_noise_that_is_known_adds_freedom() -> None:
    assert combine_noise(0.03, 7.0, 0.0) == (0.03, 7.0)
    # Satterthwaite: (s1² + s2²)² / (s1⁴ / 7 + s2⁴ / ∞)
    assert combine_noise(0.03, 7.0, 0.04) == pytest.approx((0.05, 7 * (25 / 9) ** 2))
    assert combine_noise(1e-200, 7.0, 0.04) == (0.04, MOST_FREEDOM)
