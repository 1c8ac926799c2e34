"""Timelines as lines of blocks: reports/sparkline.py."""

from __future__ import annotations

from pytest_llmperf.reports.sparkline import ASCII_BLOCKS, draw_sparkline, draw_timeline


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


def test_a_timeline_is_drawn_by_its_times_and_not_by_its_points() -> None:
    level_then_rise = [(0.0, 1), (80.0, 1), (90.0, 8), (95.0, 3), (100.0, 3)]
    assert draw_timeline(level_then_rise, 10) == "▁▁▁▁▁▁▁▁▁█"
    assert draw_timeline([(0.0, 1), (10.0, 8), (20.0, 1), (100.0, 1)], 10) == "▁██▁▁▁▁▁▁▁"


def test_a_timeline_of_one_moment_is_one_block() -> None:
    assert draw_timeline([(5.0, 7)], 10) == "▁"
    assert draw_timeline([(5.0, 7), (5.0, 8)], 10) == "▁█"
    assert draw_timeline([], 10) == ""
