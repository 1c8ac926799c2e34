from __future__ import annotations

from random import Random
from statistics import mean, stdev

import pytest

from pytest_llmperf.traffic.workloads.lengths import Histogram, Normal, Uniform, parse_lengths


def drawn(value: object, count: int = 4000) -> list[int]:
    random = Random(1)
    return [parse_lengths(value, "prompt_tokens").draw(random) for _ in range(count)]


def test_a_number_is_a_fixed_length() -> None:
    assert set(drawn(256, 10)) == set(drawn("256", 10)) == {256}


@pytest.mark.parametrize("text", ["128-2048", "128–2048", " 128 - 2048 "])
def test_a_range_is_uniform_and_includes_both_ends(text: str) -> None:
    assert parse_lengths(text, "prompt_tokens") == Uniform(128, 2048)
    assert set(drawn("3-5")) == {3, 4, 5}
    assert mean(drawn(text)) == pytest.approx(1088, rel=0.03)


@pytest.mark.parametrize("text", ["1024±256", "1024 +- 256"])
def test_a_normal_length_has_its_mean_and_deviation_and_is_cut_at_three_of_them(text: str) -> None:
    assert parse_lengths(text, "prompt_tokens") == Normal(1024, 256)
    found = drawn(text)
    assert mean(found) == pytest.approx(1024, rel=0.02)
    assert stdev(found) == pytest.approx(256, rel=0.05)
    assert 1024 - 768 <= min(found) <= max(found) <= 1024 + 768
    assert min(drawn("3±3")) == 1


def test_a_histogram_draws_each_bin_as_often_as_its_weight_says() -> None:
    found = drawn({"10-12": 3, 100: 1})
    assert parse_lengths({"10-12": 3, 100: 1}, "x") == Histogram(((Uniform(10, 12), 3.0), (Uniform(100, 100), 1.0)))
    assert set(found) == {10, 11, 12, 100}
    assert found.count(100) / len(found) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    "value", ["", "long", "0", 0, -3, True, 2.5, "5-3", {}, {"a": 1}, {5: 0}, {5: "x"}, {"5±2": 1}]
)
def test_what_is_no_length_is_refused_by_the_name_of_its_argument(value: object) -> None:
    with pytest.raises(ValueError, match="output_tokens") as error:
        parse_lengths(value, "output_tokens")
    assert "\n" not in str(error.value)


def test_lengths_read_as_what_they_are() -> None:
    texts = [str(parse_lengths(value, "x")) for value in (256, "128-2048", "1024±256", {"10-12": 3, 100: 1})]
    assert texts == ["256", "128 to 2048", "1024±256", "10 to 12 (75 %), 100 (25 %)"]
