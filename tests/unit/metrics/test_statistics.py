"""The statistics of a limit."""

from __future__ import annotations

import math
import random

import pytest

from pytest_llmperf.measurement.distribution import Distribution
from pytest_llmperf.metrics.statistics import Statistic, minimum_samples, split_key

MAX = Statistic(None)


@pytest.mark.parametrize(
    ("key", "base", "percentile"),
    [
        ("ttft_p95", "ttft", 95.0),
        ("ttft_answer_p50", "ttft_answer", 50.0),
        ("chunk_gap_p99_9", "chunk_gap", 99.9),
        ("e2e_p1", "e2e", 1.0),
        ("itl_p0_5", "itl", 0.5),
        ("tpot_max", "tpot", None),
        ("ttft_p099", "ttft", 99.0),
    ],
)
def test_a_key_is_split_into_metric_and_statistic(key: str, base: str, percentile: float | None) -> None:
    assert split_key(key) == (base, Statistic(percentile))


@pytest.mark.parametrize("key", ["startup", "host_peak", "ttft", "ttft_P95", "ttft_p", "p95", "ttft_pNN", "_p95"])
def test_a_key_without_a_statistic_is_left_whole(key: str) -> None:
    assert split_key(key) == (key, None)


@pytest.mark.parametrize(
    ("key", "shown"), [("ttft_p0", "0"), ("ttft_p100", "100"), ("ttft_p101", "101"), ("itl_p100_5", "100.5")]
)
def test_a_percentile_lies_between_0_and_100_both_excluded(key: str, shown: str) -> None:
    with pytest.raises(ValueError, match=f"'{key}' asks for percentile {shown}: it must lie between 0 and 100"):
        split_key(key)


@pytest.mark.parametrize("key", ["ttft_p50", "ttft_p99_9", "ttft_p99_99", "ttft_p99_999999", "ttft_p0_5", "ttft_max"])
def test_a_statistic_is_named_as_it_was_asked_for(key: str) -> None:
    base, statistic = split_key(key)
    assert statistic is not None
    assert f"{base}_{statistic.suffix}" == key


@pytest.mark.parametrize(
    ("percent", "needed"),
    [(50, 11), (75, 24), (80, 31), (90, 64), (95, 130), (97, 219), (99, 662), (99.9, 6636)],
)
def test_a_percentile_needs_the_samples_of_the_published_table(percent: float, needed: int) -> None:
    assert minimum_samples(percent) == needed
    assert Statistic(percent).minimum == needed


def test_a_low_percentile_needs_as_many_samples_as_its_mirror_image() -> None:
    assert minimum_samples(5) == minimum_samples(95)
    assert minimum_samples(1) == minimum_samples(99)


def test_a_percentile_of_many_nines_is_answered_and_not_counted_out() -> None:
    assert minimum_samples(99.9999) == pytest.approx(6.638e6, rel=0.001)


def test_the_largest_value_needs_one_sample() -> None:
    assert MAX.minimum == 1
    assert MAX.of(Distribution([[0.2]])) == 0.2


@pytest.mark.parametrize(
    ("percent", "rank"),
    [(1, 1), (5, 1), (5.1, 2), (25, 5), (50, 10), (51, 11), (90, 18), (95, 19), (95.1, 20), (99, 20)],
)
def test_a_percentile_is_the_sample_of_the_nearest_rank(percent: float, rank: int) -> None:
    shuffled = random.Random(7).sample(range(1, 21), 20)
    assert Statistic(percent).of(Distribution([shuffled])) == rank


def test_a_percentile_is_a_sample_that_enough_others_do_not_exceed_whatever_their_number() -> None:
    for n in range(1, 300):
        for tenths in (1, 500, 550, 900, 950, 990, 999):
            value = Statistic(tenths / 10).of(Distribution([range(1, n + 1)]))
            assert value == max(1, math.ceil(tenths * n / 1000)), (n, tenths)
