"""Histograms with buckets of equal ratio: reports/wire/histogram.py."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from random import Random

import pytest

from pytest_llmperf.measurement.distribution import Distribution
from pytest_llmperf.metrics.statistics import Statistic
from pytest_llmperf.reports.wire.histogram import list_buckets, make_histogram, merge_histograms, percentile_of

pytestmark = pytest.mark.once

PERCENTS = (0.1, 1.0, 25.0, 50.0, 90.0, 95.0, 99.0, 99.9)


def draw(count: int, spread: float, seed: int = 1, middle: float = 0.01) -> list[float]:
    random = Random(seed)
    return [middle * math.exp(random.gauss(0, spread)) for _ in range(count)]


def distribute(values: list[float], most_exact: int = 1_000_000) -> Distribution:
    return Distribution([[value] for value in values], most_exact)


@pytest.mark.parametrize("percent", PERCENTS)
@pytest.mark.parametrize(("count", "spread"), [(1, 0.0), (7, 2.0), (200, 0.3), (50_000, 0.05)])
def test_a_percentile_is_within_one_percent_of_the_exact_one(count: int, spread: float, percent: float) -> None:
    values = distribute(draw(count, spread))
    exact = Statistic(percent).of(values)
    assert percentile_of(make_histogram(values), percent) == pytest.approx(exact, rel=0.0051)


@pytest.mark.parametrize("value", [1.0, 1.01, 1.01**231, 1.01**-400, 1e-9, 86400.0, 1.01**50 * (1 - 1e-16)])
def test_a_value_at_the_edge_of_a_bucket_lies_inside_of_it(value: float) -> None:
    ((low, high, count),) = list_buckets(make_histogram(distribute([value])))
    assert low <= value < high
    assert count == 1


def test_every_value_is_counted_once_and_zeros_apart() -> None:
    values = [0.0, 0.0, *draw(1000, 1.0)]
    histogram = make_histogram(distribute(values))
    assert histogram["zeros"] == 2
    buckets = list_buckets(histogram)
    assert sum(count for _, _, count in buckets) == 1002
    assert buckets[0] == (0.0, 0.0, 2)
    assert all(one[1] <= after[0] * (1 + 1e-12) for one, after in pairwise(buckets))
    assert percentile_of(histogram, 0.1) == 0.0


def test_values_that_are_counted_in_steps_make_the_same_histogram() -> None:
    values = [round(value, 6) for value in draw(5000, 0.3)]
    few, many = make_histogram(distribute(values)), make_histogram(distribute(values, most_exact=10))
    assert many == few


@pytest.mark.parametrize(("count", "spread"), [(200, 0.3), (20_000, 0.5), (300_000, 1.0), (2_000, 3.0)])
def test_it_takes_less_than_a_kilobyte(count: int, spread: float) -> None:
    values = distribute(draw(count, spread))
    histogram = make_histogram(values)
    assert len(json.dumps(histogram, separators=(",", ":"))) < 1000
    share = 1.01 ** (histogram["step"] / 2) - 1
    assert percentile_of(histogram, 95) == pytest.approx(Statistic(95).of(values), rel=share * 1.01)


@pytest.mark.parametrize("spreads", [(0.1, 0.1), (0.05, 2.0), (2.0, 3.0, 0.01)])
def test_histograms_of_several_runs_add_up_to_that_of_all_values(spreads: tuple[float, ...]) -> None:
    runs = [draw(3000, spread, seed) for seed, spread in enumerate(spreads)]
    merged = merge_histograms([make_histogram(distribute(run)) for run in runs])
    together = distribute([value for run in runs for value in run])
    assert sum(count for _, _, count in list_buckets(merged)) == together.count
    share = 1.01 ** (merged["step"] / 2) - 1
    for percent in PERCENTS:
        assert percentile_of(merged, percent) == pytest.approx(Statistic(percent).of(together), rel=share * 1.01)


def test_merging_does_not_depend_on_the_order() -> None:
    first, second, third = (make_histogram(distribute(draw(500, 0.5, seed))) for seed in range(3))
    assert merge_histograms([first, second, third]) == merge_histograms([third, merge_histograms([second, first])])


def test_nothing_has_no_percentile() -> None:
    assert percentile_of(merge_histograms([]), 50) is None
    empty = make_histogram(distribute([]))
    assert (empty["counts"], percentile_of(empty, 50), list_buckets(empty)) == ([], None, [])
