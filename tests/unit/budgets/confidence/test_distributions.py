"""The binomial distribution and Student's t, against scipy."""

from __future__ import annotations

import math
import random

import pytest
from scipy import special, stats

from pytest_llmperf.budgets.confidence.distributions import (
    binomial_at_least,
    binomial_at_most,
    incomplete_beta,
    t_at_most,
    t_quantile,
)

pytestmark = pytest.mark.once

_random = random.Random(20261129)
BETAS = [(10 ** _random.uniform(-1, 5), 10 ** _random.uniform(-1, 5)) for _ in range(300)]
BINOMIALS = [(int(10 ** _random.uniform(0, 6)), _random.random(), _random.gauss(0, 3)) for _ in range(300)]
STUDENTS = [(10 ** _random.uniform(-8, -0.01), 10 ** _random.uniform(-0.3, 4)) for _ in range(100)]


def test_the_incomplete_beta_function_agrees_with_scipy() -> None:
    for a, b in BETAS:
        x = _random.betavariate(a, b)
        assert incomplete_beta(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-10, abs=1e-290), (a, b, x)


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (0.5, 30.0), (2e5, 3.0)])
def test_it_runs_from_0_to_1(a: float, b: float) -> None:
    assert incomplete_beta(a, b, 0.0) == 0.0
    assert incomplete_beta(a, b, 1.0) == 1.0


@pytest.mark.parametrize(("a", "b", "x"), [(0.0, 1.0, 0.5), (1.0, -1.0, 0.5), (1.0, 1.0, 1.5), (1.0, 1.0, math.nan)])
def test_it_refuses_what_it_is_not_defined_for(a: float, b: float, x: float) -> None:
    with pytest.raises(ValueError, match="needs a > 0, b > 0 and 0 <= x <= 1"):
        incomplete_beta(a, b, x)


def test_both_tails_of_a_binomial_agree_with_scipy() -> None:
    for n, p, z in BINOMIALS:
        k = min(n, max(0, int(n * p + z * math.sqrt(n * p * (1 - p)))))
        assert binomial_at_most(k, n, p) == pytest.approx(stats.binom.cdf(k, n, p), rel=1e-10, abs=1e-290), (k, n, p)
        assert binomial_at_least(k, n, p) == pytest.approx(stats.binom.sf(k - 1, n, p), rel=1e-10, abs=1e-290), (
            k,
            n,
            p,
        )


def test_a_binomial_ends_at_0_and_at_n() -> None:
    assert binomial_at_most(-1, 10, 0.3) == 0.0
    assert binomial_at_most(10, 10, 0.3) == 1.0
    assert binomial_at_least(0, 10, 0.3) == 1.0
    assert binomial_at_least(11, 10, 0.3) == 0.0


def test_t_and_its_quantiles_agree_with_scipy() -> None:
    for probability, freedom in STUDENTS:
        expected = stats.t.ppf(probability, freedom)
        assert t_quantile(probability, freedom) == pytest.approx(expected, rel=1e-10), (probability, freedom)
        assert t_at_most(expected, freedom) == pytest.approx(stats.t.cdf(expected, freedom), rel=1e-10, abs=1e-290)
        assert t_at_most(-expected, freedom) == pytest.approx(stats.t.cdf(-expected, freedom), rel=1e-10, abs=1e-290)


def test_a_quantile_of_t_is_symmetric_and_ends_at_infinity() -> None:
    assert t_quantile(0.5, 7) == 0.0
    assert t_quantile(0.99, 7) == pytest.approx(-t_quantile(0.01, 7), rel=1e-14)
    assert (t_quantile(0.0, 7), t_quantile(1.0, 7)) == (-math.inf, math.inf)


@pytest.mark.parametrize(("probability", "freedom"), [(-0.1, 3.0), (1.1, 3.0), (0.5, 0.0), (math.nan, 3.0)])
def test_a_quantile_of_t_refuses_what_it_is_not_defined_for(probability: float, freedom: float) -> None:
    with pytest.raises(ValueError, match="a quantile of t needs a probability and freedom > 0"):
        t_quantile(probability, freedom)
