"""Change points: where published series change, how often noise looks like a change, and which changes are found."""

from __future__ import annotations

import random
from math import sqrt
from statistics import mean
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.baselines.change_points import ChangePoint, find_change_points

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.once

# Annual flow of the Nile at Aswan in 10**8 m³, 1871 to 1970 (Cobb, Biometrika 65, 1978).
NILE = """
1120 1160 963 1210 1160 1160 813 1230 1370 1140 995 935 1110 994 1020 960 1180 799 958 1140 1100 1210 1150 1250 1260
1220 1030 1100 774 840 874 694 940 833 701 916 692 1020 1050 969 831 726 456 824 702 1120 1100 832 764 821 768 845 864
862 698 845 744 796 1040 759 781 865 845 944 984 897 822 1010 771 676 649 846 812 742 801 1040 860 874 848 890 744 749
838 1050 918 986 797 923 975 815 1020 906 901 1170 912 746 919 718 714 740
"""
# Disasters in British coal mines with at least ten deaths, by year, from 1851 on (Jarrett, Biometrika 66, 1979).
COAL_MINES = """
4 5 4 0 1 4 3 4 0 6 3 3 4 0 2 6 3 3 5 4 5 3 1 4 4 1 5 5 3 4 2 5 2 2 3 4 2 1 3 2 2 1 1 1 1 3 0 0 1 0 1 1 0 0 3 1 0 3 2 2
0 1 1 1 0 1 0 1 0 0 0 2 1 0 0 0 1 1 0 2 3 3 1 1 2 1 1 1 1 2 4 2 0 0 1 4 0 0 0 1 0 0 0 0 0 1 0 0 1 0 1
"""


def numbers(text: str) -> list[float]:
    return [float(word) for word in text.split()]


def noise(count: int, seed: int, memory: float = 0.0) -> list[float]:
    """Noise of unit variance; ``memory`` is the correlation of neighbours."""
    shuffler, value, values = random.Random(seed), 0.0, []
    for place in range(count):
        fresh = shuffler.gauss(0, 1)
        value = memory * value + sqrt(1 - memory**2) * fresh if place else fresh
        values.append(value)
    return values


def places(values: Sequence[float]) -> list[int]:
    return [change.index for change in find_change_points(values)]


def is_near(found: Sequence[int], expected: Sequence[int]) -> bool:
    """Whether there are as many changes as expected, each at most two values away from its place."""
    return len(found) == len(expected) and all(abs(a - b) <= 2 for a, b in zip(found, expected, strict=True))


# -------------------------------------------------------------------------------------------------- published series


@pytest.mark.parametrize("seed", range(5))
def test_the_nile_changes_once_in_1899(seed: int) -> None:
    flow = numbers(NILE)
    assert (len(flow), mean(flow)) == (100, 919.35)
    [change] = find_change_points(flow, seed=seed)
    assert 1871 + change.index == 1899
    assert (change.before, change.after) == (1130, 842.5)
    assert change.p <= 0.01
    assert change.ratio == pytest.approx(-0.2544, abs=1e-4)


def test_the_nile_backwards_changes_at_the_same_place() -> None:
    assert places(numbers(NILE)[::-1]) == [100 - 28]


def test_disasters_in_coal_mines_become_rarer_about_1890() -> None:
    disasters = numbers(COAL_MINES)
    assert (len(disasters), sum(disasters)) == (111, 191)
    [change] = find_change_points(disasters)
    assert 1887 <= 1851 + change.index <= 1895
    assert (change.before, change.after) == (3, 1)


@pytest.mark.parametrize(("start", "end"), [(0, 28), (28, 100)])
def test_the_parts_of_the_nile_do_not_change(start: int, end: int) -> None:
    assert places(numbers(NILE)[start:end]) == []


# ------------------------------------------------------------------------------------------------------- false alarms


@pytest.mark.parametrize("length", [12, 30, 60])
def test_noise_alone_has_a_change_in_about_one_series_of_a_hundred(length: int) -> None:
    alarms = sum(bool(find_change_points(noise(length, seed), seed=seed)) for seed in range(600))
    assert alarms <= 14  # The probability of more is 0.1 % at 1 %.


def test_outliers_alone_are_no_change() -> None:
    shuffler = random.Random(3)
    spiked = [[v + (12 if shuffler.random() < 0.05 else 0) for v in noise(40, seed)] for seed in range(300)]
    assert sum(bool(places(values)) for values in spiked) <= 9


def test_runs_that_depend_on_one_another_raise_false_alarms() -> None:
    """What docs/baselines.md says of the limit of the method."""
    alarms = sum(bool(find_change_points(noise(50, seed, memory=0.4), seed=seed)) for seed in range(100))
    assert 10 <= alarms <= 40


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 5, [1.0, 2.0] * 2, [7.0] * 100, [0.0] * 30 + [1.0]])
def test_series_that_cannot_show_a_change(values: list[float]) -> None:
    assert find_change_points(values) == []


# ------------------------------------------------------------------------------------------------------ what is found


@pytest.mark.parametrize(
    ("after", "deviations", "least"), [(3, 3, 50), (3, 6, 90), (5, 3, 85), (8, 2, 60), (15, 2, 80), (15, 3, 95)]
)
def test_a_change_is_found_so_many_runs_after_it(after: int, deviations: float, least: int) -> None:
    found = 0
    for seed in range(100):
        values = [v + deviations * (place >= 40 - after) for place, v in enumerate(noise(40, seed))]
        found += any(abs(index - (40 - after)) <= 2 for index in places(values))
    assert found >= least


@pytest.mark.parametrize(
    "expected", [[30], [15, 40], [20, 28], [12, 24, 36, 48]], ids=["step", "steps", "bump", "stairs"]
)
def test_each_of_several_changes_is_found_at_its_place(expected: list[int]) -> None:
    def level(place: int) -> float:
        passed = sum(place >= index for index in expected)
        return float(passed if len(expected) > 2 else passed % 2) * 5

    series = [[v + level(place) for place, v in enumerate(noise(60, seed))] for seed in range(20)]
    assert sum(is_near(places(values), expected) for values in series) >= 16


def test_a_slow_drift_is_found_as_steps_in_its_direction() -> None:
    for seed in range(20):
        changes = find_change_points([v + 0.08 * place for place, v in enumerate(noise(60, seed))])
        assert changes
        assert all(change.after > change.before for change in changes)


def test_a_change_without_any_noise_is_found() -> None:
    assert places([2.0] * 12 + [2.1] * 12) == [12]
    assert places([2.0] * 12 + [2.1] * 6 + [9.0] + [2.1] * 6) == [12]


def test_unit_and_offset_do_not_matter_and_the_result_is_always_the_same() -> None:
    values = [v + 4 * (place >= 30) for place, v in enumerate(noise(50, 1))]
    scaled = [1e9 + 1e6 * value for value in values]
    assert places(values) == places(scaled) == places(values) == [30]
    assert find_change_points(values) == find_change_points(values)


def test_a_change_from_zero_has_no_ratio() -> None:
    assert ChangePoint(5, 0.0, 1.0, 0.01).ratio == float("inf")
