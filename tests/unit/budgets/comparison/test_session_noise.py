"""The noise between sessions as earlier runs show it."""

from __future__ import annotations

import math
import random

import pytest

from pytest_llmperf.budgets.comparison.session_noise import SessionNoise, estimate_session_noise


def test_of_a_few_runs_it_is_the_standard_deviation_of_the_logarithms() -> None:
    noise, freedom = estimate_session_noise([math.e, 1.0, 1 / math.e])
    assert noise == pytest.approx(1.0)
    assert freedom == 2.0


def test_equal_runs_have_none() -> None:
    assert estimate_session_noise([0.3] * 20, 2) == (0.0, 15.0)
    assert SessionNoise.of_runs([0.3] * 5).reach(0.001) == 0.0


@pytest.mark.parametrize("count", [5, 8, 12, 20])
def test_an_odd_run_hardly_changes_what_more_runs_would_reach(count: int) -> None:
    generator = random.Random(3)
    values = [math.exp(generator.gauss(0, 0.02)) for _ in range(count)]
    plain, odd = SessionNoise.of_runs(values), SessionNoise.of_runs([*values[1:], 9.0])
    assert plain.reach(0.005) < odd.reach(0.005) < estimate_session_noise([*values[1:], 9.0])[0] * 2


@pytest.mark.parametrize(("count", "replaced"), [(5, 0), (5, 1), (8, 1), (12, 1), (16, 2), (20, 2)])
def test_it_does_not_understate_the_noise_of_normal_runs(count: int, replaced: int) -> None:
    generator = random.Random(count)
    drawn = [[math.exp(generator.gauss(0, 0.03)) for _ in range(count)] for _ in range(2000)]
    variances = [estimate_session_noise(values, replaced)[0] ** 2 for values in drawn]
    assert 0.97 < math.sqrt(math.fsum(variances) / len(variances)) / 0.03 < 1.3


@pytest.mark.parametrize("error", [0.05, 0.005, 0.0005])
def test_its_p_value_is_the_error_of_its_bound(error: float) -> None:
    noise = SessionNoise.of_runs([0.3, 0.31, 0.29, 0.305, 0.295, 0.302])
    assert noise.find_p(noise.reach(error)) == pytest.approx(error)
    assert noise.find_p(-1.0) == pytest.approx(1.0)
