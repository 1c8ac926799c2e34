"""The interval of a value from what a report keeps of its evidence: the same, but for the width of a bucket."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from pytest_llmperf.budgets.interval import (
    Confidence,
    count_effective,
    count_missing,
    estimate_rate_noise,
    find_interval,
)
from pytest_llmperf.metrics.evidence import BinnedValues, RateUnits, RequestValues
from pytest_llmperf.metrics.statistics import Statistic

BUCKET = 1.01


def fill_buckets(values: list[float], requests: int, effective: float) -> BinnedValues:
    """Buckets of one percent, as reports have them; zeros in a bucket of their own."""
    counted = Counter(-math.inf if value == 0 else math.floor(math.log(value, BUCKET)) for value in values)
    edges = [(0.0 if math.isinf(at) else BUCKET**at, 0.0 if math.isinf(at) else BUCKET ** (at + 1)) for at in counted]
    rows = [(low, high, number) for (low, high), number in zip(edges, counted.values(), strict=True)]
    return BinnedValues(sorted(rows), requests, effective)


def draw(count: int, seed: int) -> list[float]:
    generator = random.Random(seed)
    return [0.2 * math.exp(0.3 * generator.gauss(0, 1)) for _ in range(count)]


@pytest.mark.parametrize("session_noise", [None, 0.03])
@pytest.mark.parametrize("percent", [50.0, 95.0, 99.0])
@pytest.mark.parametrize("count", [12, 200, 1500])
def test_buckets_give_the_interval_of_their_values(count: int, percent: float, session_noise: float | None) -> None:
    values, statistic, confidence = draw(count, count), Statistic(percent), Confidence(session_noise=session_noise)
    exact = RequestValues([[value] for value in values], is_per_request=True)
    value = statistic.of(exact.ordered)
    binned = fill_buckets(values, count, count_effective(exact, value))
    expected = find_interval(exact, statistic, value, "lower", confidence)
    found = find_interval(binned, statistic, value, "lower", confidence)
    assert expected is not None
    assert found is not None
    assert (found.units, found.effective) == (expected.units, expected.effective)
    for ours, theirs in ((found.low, expected.low), (found.high, expected.high)):
        assert ours is not None
        assert theirs is not None
        assert 1 / BUCKET**2 <= ours / theirs <= BUCKET**2
    missing = [count_missing(e, statistic, value, 1.05 * value, "lower", confidence) for e in (exact, binned)]
    assert (missing[0] is None) == (missing[1] is None)


def test_gaps_of_requests_with_zeros_keep_their_percentiles() -> None:
    gaps = [[0.0, 0.0, 0.01 + at / 1000, 0.02] for at in range(40)]
    exact = RequestValues(gaps, is_per_request=False)
    binned = fill_buckets([gap for request in gaps for gap in request], 40, count_effective(exact, 0.02))
    assert binned.count == exact.count == 160
    assert [binned.value_at(rank) for rank in (1, 80)] == [0.0, 0.0]
    assert binned.value_at(160) == pytest.approx(exact.ordered.value_at(160), rel=0.01)
    assert binned.bound_at(160, 0) <= exact.ordered.value_at(160) <= binned.bound_at(160, 1)
    assert binned.share_above(0.0) == exact.share_above(0.0) == 0.5


@pytest.mark.parametrize("at_each_look", [False, True])
@pytest.mark.parametrize("units", [1, 3, 20])
def test_the_noise_of_a_rate_gives_the_interval_of_its_units(units: int, *, at_each_look: bool) -> None:
    generator = random.Random(units)
    evidence = RateUnits([100 * math.exp(0.1 * generator.gauss(0, 1)) for _ in range(units)], [1.0] * units, "slice")
    confidence = Confidence(session_noise=0.02)
    confidence = confidence.at_each_look() if at_each_look else confidence
    value = sum(evidence.counts) / units
    stored = estimate_rate_noise(evidence)
    assert find_interval(stored, None, value, "higher", confidence) == find_interval(
        evidence, None, value, "higher", confidence
    )
    missing = [count_missing(e, None, value, 0.97 * value, "higher", confidence) for e in (evidence, stored)]
    assert missing[0] == missing[1]
