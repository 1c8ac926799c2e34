"""Scales and ticks: reports/plots/scale.py."""

from __future__ import annotations

import math

import pytest

from pytest_llmperf.measurement.units import BYTES, REQUESTS_PER_SECOND, SECONDS, SHARE, Quantity, find_quantity
from pytest_llmperf.reports.plots.scale import Scale, fit_scale, list_ticks


def test_values_lie_in_proportion_and_those_outside_at_the_ends() -> None:
    scale = Scale(0.0, 10.0, 100.0, 300.0)
    assert [scale.place(value) for value in (0, 5, 10, -3, 99, math.inf, -math.inf, math.nan)] == [
        100, 200, 300, 100, 300, 300, 100, 100
    ]  # fmt: skip
    upwards = Scale(0.0, 10.0, 80.0, 0.0)
    assert upwards.place(2.5) == 60


def test_decades_are_equally_wide_on_a_logarithmic_scale() -> None:
    scale = Scale(0.001, 1.0, 0.0, 300.0, is_log=True)
    assert [scale.place(value) for value in (0.001, 0.01, 0.1, 1.0)] == pytest.approx([0, 100, 200, 300])
    assert scale.place(0.0) == 0


@pytest.mark.parametrize(
    ("low", "high", "quantity", "labels"),
    [
        (0.0, 3.2, SECONDS, ["0", "1", "2", "3 s"]),
        (0.0, 0.25, SECONDS, ["0", "50", "100", "150", "200", "250 ms"]),
        (0.0, 3000.0, SECONDS, ["0", "10", "20", "30", "40", "50 min"]),
        (13.9 * 2**30, 16.1 * 2**30, BYTES, ["14.0", "14.5", "15.0", "15.5", "16.0 GiB"]),
        (0.0, 1.0, SHARE, ["0", "20", "40", "60", "80", "100 %"]),
        (-0.2, 0.11, SHARE, ["-20", "-10", "0", "10 %"]),
        (0.0, 12.0, REQUESTS_PER_SECOND, ["0", "2", "4", "6", "8", "10", "12 req/s"]),
        (0.0, 5.0, find_quantity("EUR"), ["0", "1", "2", "3", "4", "5 EUR"]),
    ],
)
def test_ticks_are_round_in_the_unit_that_the_last_one_names(
    low: float, high: float, quantity: Quantity, labels: list[str]
) -> None:
    assert [tick.label for tick in list_ticks(Scale(low, high, 0, 100), quantity, 6)] == labels


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0009, 1.1, ["1 ms", "10 ms", "100 ms", "1 s"]),
        (0.009, 0.35, ["10 ms", "20 ms", "50 ms", "100 ms", "200 ms"]),
        (1e-6, 100.0, ["1 us", "100 us", "10 ms", "1 s", "100 s"]),
    ],
)
def test_ticks_of_a_logarithmic_scale_each_name_their_unit(low: float, high: float, labels: list[str]) -> None:
    assert [tick.label for tick in list_ticks(Scale(low, high, 0, 100, is_log=True), SECONDS, 5)] == labels


@pytest.mark.parametrize(
    "values", [[], [0.0], [5.0], [0.0, 0.0], [-2.0], [1e-300], [math.nan, math.inf], [1e300, 1e-300]]
)
@pytest.mark.parametrize("is_log", [False, True])
def test_any_values_have_a_scale_with_ticks(values: list[float], is_log: bool) -> None:
    scale = fit_scale(values, 0.0, 100.0, is_log=is_log)
    assert scale.low < scale.high
    for value in values:
        assert 0 <= scale.place(value) <= 100
    ticks = list_ticks(scale, SECONDS, 5)
    assert len(ticks) <= 7
    assert all(scale.low <= tick.value <= scale.high * (1 + 1e-9) for tick in ticks)
