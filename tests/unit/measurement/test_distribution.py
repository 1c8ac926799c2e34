from __future__ import annotations

from random import Random

import pytest

from pytest_llmperf.measurement.distribution import Distribution


def given() -> list[list[float]]:
    random = Random(1)
    return [[random.expovariate(50) for _ in range(random.randrange(9))] for _ in range(300)]


def test_values_are_ranked_counted_and_averaged_as_they_are() -> None:
    found = Distribution([[0.3, 0.1], [], [0.2]])
    assert [found.value_at(rank) for rank in (1, 2, 3)] == [0.1, 0.2, 0.3]
    assert (found.count, found.contributors) == (3, 2)
    assert found.mean == pytest.approx(0.2)


def test_no_values_are_no_values() -> None:
    found = Distribution([[], []])
    assert (found.count, found.contributors, found.mean) == (0, 0, 0.0)


@pytest.mark.parametrize("most_exact", [0, 100, 800])
def test_more_values_than_are_kept_are_exact_to_the_microsecond(most_exact: int) -> None:
    exact, counted = Distribution(given()), Distribution(given(), most_exact)
    assert (counted.count, counted.contributors, counted.mean) == (exact.count, exact.contributors, exact.mean)
    for rank in range(1, exact.count + 1):
        assert counted.value_at(rank) == pytest.approx(exact.value_at(rank), abs=0.51e-6)


def test_so_many_values_take_no_more_room_than_there_are_microseconds() -> None:
    found = Distribution([[0.001, 0.002, 0.001]] * 1000, most_exact=10)
    assert len(found._values) == 2
    assert [found.value_at(rank) for rank in (1, 2000, 2001, 3000)] == pytest.approx([0.001, 0.001, 0.002, 0.002])
