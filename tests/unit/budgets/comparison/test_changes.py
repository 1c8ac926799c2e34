"""The change between pairs of values, with its bounds."""

from __future__ import annotations

import math
import random

import pytest

from pytest_llmperf.budgets.comparison.changes import LOOKS, MOST_PAIRS, estimate_change, find_errors


def draw_pairs(count: int, ratio: float = 1.0, noise: float = 0.05, seed: int = 5) -> list[tuple[float, float]]:
    generator = random.Random(seed)
    return [
        (ratio * math.exp(generator.gauss(0, noise)), math.exp(generator.gauss(0, noise / 2))) for _ in range(count)
    ]


@pytest.mark.parametrize("count", [3, 9, 10, 19, 20, 24])
def test_the_bounds_are_those_of_the_trimmed_mean(count: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    pairs = draw_pairs(count, 1.2)
    found = estimate_change(pairs, 0.01, 0.01, exact=True)
    low, high, share = (math.log1p(share) for share in (found.low, found.high, found.share))
    ratios = [math.log(new / old) for new, old in pairs]
    # Yuen's test of a sample against its mirror image, whose means differ by twice the mean, with twice its variance.
    trimmed = stats.ttest_ind(ratios, [-ratio for ratio in ratios], equal_var=False, trim=0.1)
    error = math.sqrt(2) * share / trimmed.statistic
    width = error * stats.t.ppf(0.99, count - 2 * (count // 10) - 1)
    assert (low, high) == pytest.approx((share - width, share + width), rel=1e-9)


def test_the_averages_have_the_ratio_that_is_told() -> None:
    found = estimate_change(draw_pairs(15, 1.3), 0.01, 0.01)
    assert found.new / found.old - 1 == pytest.approx(found.share)


def test_a_few_quiet_pairs_are_not_taken_for_no_noise_unless_the_metric_has_none() -> None:
    alike = [(1.0, 1.0), (1.0, 1.0), (1.0, 1.0)]
    noisy, exact = (estimate_change(alike, 0.001, 0.001, exact=exact) for exact in (False, True))
    assert noisy.low < -0.05 < 0.05 < noisy.high
    assert (exact.low, exact.share, exact.high) == (0, 0, 0)


def test_one_round_that_a_stranger_slowed_moves_neither_value_nor_bounds_much() -> None:
    quiet = draw_pairs(12, noise=0.01)
    slowed = [(2 * quiet[0][0], quiet[0][1]), *quiet[1:]]
    before, after = (estimate_change(pairs, 0.005, 0.005) for pairs in (quiet, slowed))
    assert after.share == pytest.approx(before.share, abs=0.01)
    assert after.high - after.low < 2 * (before.high - before.low)


def test_rounds_that_scatter_widen_the_bounds_even_if_the_first_pairs_have_one_ratio() -> None:
    scattered = [(value, value) for value in (1.0, 1.2, 0.9, 1.1)]
    steady, noisy = (estimate_change(pairs, 0.01, 0.01) for pairs in ([(1.0, 1.0)] * 4, scattered))
    assert noisy.high > 1.5 * steady.high


def test_a_drift_of_the_host_widens_them_by_less_than_the_same_values_in_any_order() -> None:
    levels = [math.exp(0.02 * step) for step in range(12)]
    mixed = [levels[5 * place % 12] for place in range(12)]
    drifting, scattered = (
        estimate_change([(value, value) for value in values], 0.01, 0.01) for values in (levels, mixed)
    )
    assert drifting.high < 0.6 * scattered.high


@pytest.mark.parametrize("equal", [0.0, -3.0])
def test_equal_values_that_have_no_ratio_are_no_change(equal: float) -> None:
    found = estimate_change([(equal, equal)] * 3, 0.01, 0.01, exact=True)
    assert (found.new, found.old, found.share, found.low, found.high) == (equal, equal, 0, 0, 0)


@pytest.mark.parametrize("pairs", [[], [(1.0, 1.0)], [(1.0, 0.0), (1.0, 1.0)], [(-1.0, 1.0), (1.0, 1.0)]])
def test_what_has_no_change_is_refused(pairs: list[tuple[float, float]]) -> None:
    with pytest.raises((ValueError, ZeroDivisionError)):
        estimate_change(pairs, 0.01, 0.01)


def test_later_looks_may_err_more_and_a_pass_more_than_a_fail() -> None:
    errors = [find_errors(pairs) for pairs in LOOKS]
    assert errors == sorted(errors)
    assert all(fail < hold for fail, hold in errors)
    assert sum(fail for fail, _ in errors) < 0.035
    assert LOOKS[-1] == MOST_PAIRS
