"""Rows of numbers in few characters: reports/compact/numbers.py."""

from __future__ import annotations

import pytest

from pytest_llmperf.reports.compact.numbers import read_counts, read_timeline, write_counts, write_timeline


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ([], ""),
        ([0, 5, 9, 10, 35], "059az"),
        ([36, 71, 936, 972], "B0BzBA0BB0"),
        ([1, -13, 1], "1-d1"),
        ([3, -400, 24_336], "3-L4BAA0"),
    ],
)
def test_counts_are_written_one_after_another_and_read_again(counts: list[int], text: str) -> None:
    assert write_counts(counts) == text
    assert read_counts(text) == counts


def test_each_count_is_read_as_it_was_written() -> None:
    counts = [*range(40_000), 10**9, -1, -(10**6)]
    assert read_counts(write_counts(counts)) == counts


@pytest.mark.parametrize("text", ["A", "1 2", "-", "1é"])
def test_what_is_no_row_of_counts_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="holds no counts"):
        read_counts(text)


@pytest.mark.parametrize(
    "points",
    [
        [],
        [[0, 5]],
        [[-10, 1_153_433_600], [5310.125, 1_155_567_616], [5330, 1_153_433_600], [5330.001, 7]],
        [[0.001 * number, number * number] for number in range(1000)],
    ],
)
def test_a_timeline_is_the_same_when_it_is_read_again(points: list[list[float]]) -> None:
    points = [[round(at, 3), level] for at, level in points]
    assert read_timeline(write_timeline(points)) == points


def test_the_first_point_counts_from_zero_and_each_other_one_from_the_point_before() -> None:
    assert write_timeline([[-10, 100], [10.5, 90], [20.5, 90]]) == {"ms": [-10, 20.5, 10], "bytes": [100, -10, 0]}
