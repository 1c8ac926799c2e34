"""Between which of the ordered values a percentile lies."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from pytest_llmperf.budgets.confidence.percentiles import bound_by_spread, bound_share, count_for_verdict, find_ranks
from pytest_llmperf.metrics.statistics import minimum_samples

pytestmark = pytest.mark.once

ERROR = 0.01


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("count", [11, 24, 64, 90, 130, 662, 5000])
def test_the_ranks_are_the_closest_that_keep_the_error(count: int, share: float) -> None:
    below = stats.binom(count, share)
    first, last = find_ranks(count, share, count, ERROR)
    above = [rank for rank in range(1, count + 1) if below.cdf(rank - 1) <= ERROR]
    under = [rank for rank in range(1, count + 1) if below.sf(rank - 1) <= ERROR]
    assert first == (above[-1] if above else None)
    assert last == (under[0] if under else None)


@pytest.mark.parametrize(("percent", "alone"), [(90.0, 44), (95.0, 90), (99.0, 459)])
def test_the_upper_rank_is_the_early_stopping_estimate_of_mlperf(percent: float, alone: int) -> None:
    share = percent / 100
    enough = minimum_samples(percent)
    assert find_ranks(alone - 1, share, alone - 1, ERROR)[1] is None
    assert find_ranks(alone, share, alone, ERROR)[1] == alone
    assert find_ranks(enough, share, enough, ERROR)[1] == enough - 1


def test_values_that_are_worth_less_are_bounded_by_ranks_farther_apart() -> None:
    whole, few, fewer = (find_ranks(1000, 0.95, effective, ERROR) for effective in (1000.0, 300.0, 80.0))
    assert whole == (933, 966)
    assert few == (920, 979)
    assert fewer[0] is not None
    assert fewer[0] < 920
    assert fewer[1] is None


def test_a_single_value_bounds_nothing() -> None:
    assert find_ranks(1, 0.5, 1.0, ERROR) == (None, None)


@pytest.mark.parametrize(("share", "above", "needed"), [(0.95, 0.0, 90), (0.95, 0.08, 356), (0.5, 0.4, 145)])
def test_the_number_of_values_that_would_decide_is_told(share: float, above: float, needed: int) -> None:
    assert count_for_verdict(share, above, ERROR) == needed


def test_no_number_decides_a_percentile_that_lies_at_its_limit() -> None:
    assert count_for_verdict(0.95, 0.05, ERROR, most=100_000) is None


def test_where_ranks_say_nothing_the_spread_bounds_it() -> None:
    drifting = [0.020 - 0.0005 * at for at in range(11)]
    low, high = bound_by_spread(drifting, 0.5, 2.0, ERROR)
    assert 0.0005 < low < 0.0175 < high < 0.6
    closer = bound_by_spread(drifting, 0.5, 11.0, ERROR)
    assert low < closer[0] < 0.0175 < closer[1] < high


def test_the_spread_covers_a_percentile_as_often_as_it_says() -> None:
    generator = random.Random(8)
    truth, trials, wrong = math.exp(0.3 * 1.6449), 2000, [0, 0]
    for _ in range(trials):
        low, high = bound_by_spread([math.exp(generator.gauss(0, 0.3)) for _ in range(30)], 0.95, 30.0, ERROR)
        wrong[0] += low > truth
        wrong[1] += high < truth
    assert max(wrong) <= 0.025 * trials


def test_values_that_are_not_all_positive_are_taken_to_be_normal() -> None:
    low, high = bound_by_spread([0.0, 0.0, 1.0, 0.0, 1.0], 0.5, 5.0, ERROR)
    assert low < 0 < 1 < high
    assert bound_by_spread([2.0, 2.0, 2.0], 0.95, 3.0, ERROR) == pytest.approx((2.0, 2.0))


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (3, 10), (10, 10), (130, 200)])
def test_the_bounds_of_a_share_are_those_of_clopper_and_pearson(hits: int, count: int) -> None:
    low, high = bound_share(hits, count, ERROR)
    assert low == pytest.approx(stats.beta.ppf(ERROR, hits, count - hits + 1) if hits else 0.0, abs=1e-9)
    assert high == pytest.approx(stats.beta.ppf(1 - ERROR, hits + 1, count - hits) if hits < count else 1.0, abs=1e-9)


def test_values_that_are_all_beyond_their_limit_have_a_number_that_decides() -> None:
    assert count_for_verdict(0.5, 1.0, ERROR) == 7
    assert count_for_verdict(0.95, 1.0, ERROR) == 2
