"""Limits as people write them."""

from __future__ import annotations

import random

import pytest

from pytest_llmperf.budgets.calibration.rounding import round_limit, round_share, write_limit
from pytest_llmperf.measurement.units import BYTES, JOULES, SECONDS, SHARE, TOKENS_PER_SECOND, Quantity


@pytest.mark.parametrize(
    ("value", "quantity", "better", "text"),
    [
        (0.2871, SECONDS, "lower", "290 ms"),
        (0.2871, SECONDS, "higher", "287 ms"),
        (0.0104, SECONDS, "lower", "10.4 ms"),
        (0.9999, SECONDS, "lower", "1000 ms"),
        (812.7, TOKENS_PER_SECOND, "higher", "810 tok/s"),
        (123.4, TOKENS_PER_SECOND, "higher", "123 tok/s"),
        (17.3 * 2**30, BYTES, "lower", "17.3 GiB"),
        (530.26 * 2**20, BYTES, "lower", "530.3 MiB"),
        (0.0, BYTES, "lower", "0 B"),
        (-5.0, BYTES, "lower", "0 B"),
        (0.9843, SHARE, "higher", "98 %"),
        (1234567.0, JOULES, "lower", "1240 kJ"),
    ],
)
def test_a_limit_reads_well(value: float, quantity: Quantity, better: str, text: str) -> None:
    assert write_limit(value, quantity, better) == text  # type: ignore[arg-type]


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_it_is_never_tighter_and_at_most_two_percent_looser(better: str) -> None:
    generator = random.Random(5)
    for _ in range(500):
        value = 10 ** generator.uniform(-4, 9)
        for quantity in (SECONDS, TOKENS_PER_SECOND, BYTES):
            _, written = round_limit(value, quantity, better)  # type: ignore[arg-type]
            looser = written / value if better == "lower" else value / written
            assert 1 - 1e-9 <= looser <= 1.0205 or (quantity is BYTES and value < 1e4)


def test_a_share_is_written_in_whole_percent() -> None:
    assert round_share(0.083) == ("+9 %", 0.09)
    assert round_share(-0.03) == ("-3 %", -0.03)
    assert round_share(0.0001) == ("+1 %", 0.01)
