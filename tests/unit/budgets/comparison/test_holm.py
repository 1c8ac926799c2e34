"""Which of several comparisons are broken, with one error for all of them."""

from __future__ import annotations

import pytest

from pytest_llmperf.budgets.comparison.holm import find_broken


@pytest.mark.parametrize(
    ("p_values", "count", "broken"),
    [
        ([], 0, []),
        ([0.01], 1, [0]),
        ([0.0101], 1, []),
        ([0.004, 0.2], 2, [0]),
        ([0.009, 0.004], 2, [0, 1]),
        ([0.009, 0.006], 2, []),
        ([0.004], 3, []),
        ([0.003, 0.005, 0.009, 0.5], 4, []),
        ([0.0024, 0.0033, 0.005, 0.5], 4, [0, 1, 2]),
    ],
)
def test_the_smallest_is_compared_with_all_and_the_next_with_the_rest(
    p_values: list[float], count: int, broken: list[int]
) -> None:
    assert find_broken(p_values, 0.01, count) == broken
