"""The noise between sessions as earlier runs show it."""

from __future__ import annotations

import math
import random

import pytest

from pytest_llmperf.budgets.comparison.session_noise import estimate_session_noise


def test_of_a_few_runs_it_is_the_standard_deviation_of_the_logarithms() -> None:
    noise, freedom = estimate_session_noise([math.e, 1.0, 1 / math.e])
    assert noise == pytest.approx(1.0)
    assert freedom == 2.0


def test_equal_runs_have_none() -> None:
    assert estimate_session_noise([0.3] * 20) == (0.0, 15.0)


def test_one_outlier_in_eight_hardly_changes_it() -> None:
    generator = random.Random(3)
    values = [math.exp(generator.gauss(0, 0.02)) for _ in range(16)]
    plain, _ = estimate_session_noise(values)
    odd, _ = estimate_session_noise([*values[:14], 2.0, 0.4])
    assert plain < odd < 2 * plain


@pytest.mark.parametrize("count", [5, 8, 12, 16, 20])
def test_it_does_not_understate_the_noise_of_normal_runs(count: int) -> None:
    generator = random.Random(count)
    drawn = [[math.exp(generator.gauss(0, 0.03)) for _ in range(count)] for _ in range(2000)]
    variances = [estimate_session_noise(values)[0] ** 2 for values in drawn]
    assert 0.95 < math.sqrt(math.fsum(variances) / len(variances)) / 0.03 < 1.15
