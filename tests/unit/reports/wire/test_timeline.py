"""Timelines in fewer points: reports/wire/timeline.py."""

from __future__ import annotations

import pytest

from pytest_llmperf.reports.wire.timeline import downsample


def test_a_short_timeline_is_kept_as_it_is() -> None:
    samples = [(i, i * i) for i in range(10)]
    assert downsample(samples, 10) == samples


@pytest.mark.parametrize("spike_at", [0, 1, 499, 500, 998, 999])
def test_a_single_spike_and_a_single_dip_survive(spike_at: int) -> None:
    samples = [(i, 100) for i in range(1000)]
    samples[spike_at] = (spike_at, 900)
    samples[321] = (321, 3)
    kept = downsample(samples, 20)
    assert (spike_at, 900) in kept
    assert (321, 3) in kept


@pytest.mark.parametrize("count", [3, 119, 121, 250, 1001])
def test_it_has_at_most_the_points_asked_for_and_stays_in_order(count: int) -> None:
    samples = [(i, (i * 7919) % 101) for i in range(count)]
    kept = downsample(samples, 120)
    assert len(kept) <= 120
    assert kept == sorted(kept)
    assert set(kept) <= set(samples)


@pytest.mark.parametrize("points", [4, 5, 20, 121])
def test_it_begins_and_ends_where_the_samples_do(points: int) -> None:
    samples = [(i, (i * 7919) % 101) for i in range(1000)]
    kept = downsample(samples, points)
    assert (kept[0], kept[-1]) == (samples[0], samples[-1])
    assert {100, 0} <= {value for _, value in kept}


def test_fewer_than_four_points_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4 points, not 3"):
        downsample([(0, 1), (1, 2)], 3)


def test_what_lies_inside_a_level_is_left_out() -> None:
    assert downsample([(0, 5), (1, 5), (2, 5), (3, 9), (4, 9), (5, 5), (6, 5), (7, 5)], 20) == [
        (0, 5),
        (2, 5),
        (3, 9),
        (4, 9),
        (5, 5),
        (7, 5),
    ]
    assert downsample([(at, 5) for at in range(1000)], 20) == [(0, 5), (999, 5)]
