"""Timelines in fewer points: reports/sparkline.py."""

from __future__ import annotations

import pytest

from pytest_llmperf.reports.sparkline import ASCII_BLOCKS, downsample, draw_sparkline


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


def test_fewer_than_two_points_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 points, not 1"):
        downsample([(0, 1), (1, 2)], 1)


def test_a_sparkline_goes_from_the_smallest_to_the_largest_value() -> None:
    assert draw_sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert draw_sparkline([107, 100], 8) == "█▁"


def test_a_spike_between_two_characters_is_shown() -> None:
    values = [1.0] * 1000
    values[537] = 2.0
    line = draw_sparkline(values, 10)
    assert line == "▁▁▁▁▁█▁▁▁▁"


def test_a_flat_line_is_low_throughout() -> None:
    assert draw_sparkline([5, 5, 5], 8) == "▁▁▁"


def test_without_values_or_room_there_is_no_line() -> None:
    assert draw_sparkline([], 8) == ""
    assert draw_sparkline([1, 2], 0) == ""


def test_it_can_be_drawn_in_ascii() -> None:
    assert draw_sparkline([0, 1], 2, ASCII_BLOCKS) == "_#"
