"""How many independent values correlated ones are worth."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest

from pytest_llmperf.budgets.confidence.samples import (
    count_effective,
    count_effective_in_groups,
    count_effective_in_time,
    measure_correlation,
)

pytestmark = pytest.mark.once


def swing(count: int, likeness: float, seed: int) -> list[float]:
    """Lognormal values of which neighbours are alike: the exponential of an AR(1) process."""
    generator, level, values = random.Random(seed), 0.0, []
    for _ in range(count):
        level = likeness * level + generator.gauss(0, math.sqrt(1 - likeness**2))
        values.append(math.exp(level / 2))
    return values


@pytest.mark.parametrize("likeness", [0.0, 0.3, 0.6, 0.9])
def test_values_alike_in_time_count_for_less_by_their_autocorrelation_time(likeness: float) -> None:
    shares = [count_effective_in_time(swing(2000, likeness, seed)) / 2000 for seed in range(10)]
    assert fmean(shares) == pytest.approx((1 - likeness) / (1 + likeness), rel=0.2)


def test_more_values_than_are_compared_one_by_one_count_alike() -> None:
    assert count_effective_in_time(swing(20_000, 0.9, 1)) / 20_000 == pytest.approx(0.1 / 1.9, rel=0.3)


def test_a_drift_leaves_a_few() -> None:
    assert count_effective_in_time([float(value) for value in range(500)]) < 5


def test_rounds_of_a_shared_moment_count_as_little_more_than_one_value_each() -> None:
    generator = random.Random(5)
    moments = [generator.gauss(0, 1) for _ in range(10)]
    values = [moment + generator.gauss(0, 0.1) for moment in moments for _ in range(50)]
    assert count_effective_in_time(values) < 40


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 3.0]])
def test_of_fewer_than_four_values_nothing_is_known(values: list[float]) -> None:
    assert count_effective_in_time(values) == len(values)
    assert measure_correlation(values) == 1.0


def test_equal_values_are_taken_as_they_are() -> None:
    assert count_effective_in_time([2.0] * 50) == 50
    assert measure_correlation([2.0] * 50) == 1.0


def test_tokens_of_a_slow_request_are_one_sample() -> None:
    slow = [100.0 if request % 10 == 0 else 0.0 for request in range(100)]
    assert count_effective_in_groups(slow, [100.0] * 100) == pytest.approx(99)


def test_tokens_that_are_slow_at_random_are_each_a_sample() -> None:
    generator = random.Random(2)
    hits = [float(sum(generator.random() < 0.05 for _ in range(100))) for _ in range(200)]
    assert count_effective_in_groups(hits, [100.0] * 200) == pytest.approx(20_000, rel=0.25)


@pytest.mark.parametrize("hits", [[0.0] * 5, [40.0] * 5])
def test_groups_that_are_all_alike_count_as_one_value_each(hits: list[float]) -> None:
    assert count_effective_in_groups(hits, [40.0] * 5) == 5


def test_one_group_is_one_value() -> None:
    assert count_effective_in_groups([7.0], [700.0]) == 1


def test_very_many_values_that_drift_are_counted_at_once() -> None:
    """Each of their correlations alone would take as many steps as there are values."""
    generator = random.Random(5)
    drifting = [at / 200_000 + generator.gauss(0, 0.1) for at in range(200_000)]
    shuffled = generator.sample(drifting, len(drifting))
    assert count_effective(drifting) < 100 < 0.5 * len(drifting) < count_effective(shuffled)
