"""Distributions with their limits: reports/plots/distribution.py."""

from __future__ import annotations

import itertools

import pytest

from pytest_llmperf.budgets.interval import Interval
from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.reports.plots.distribution import WIDTH, draw_distribution
from tests.helpers.crowded_plots import make_distribution
from tests.helpers.drawings import Drawing, read_drawing
from tests.helpers.verdicts import verdict

METRIC = "latency.ttft"


def judged(
    statistic: str, measured: float | None, limit: float, text: str, status: Status = Status.PASS, *bounds: float | None
) -> Verdict:
    found = verdict(status, f"{METRIC}_{statistic}", METRIC, limit, text, measured)
    interval = Interval(bounds[0], bounds[1], 400, 400.0, "request") if bounds else None
    return Verdict(**{**vars(found), "interval": interval})


def draw(values: list[float], *verdicts: Verdict, requests: int | None = None) -> Drawing:
    return read_drawing(draw_distribution(METRIC, make_distribution(values, requests), verdicts))


EVEN = [0.1 + 0.2 * place / 999 for place in range(1000)]
"""From 100 to 300 ms."""


def test_the_area_below_the_outline_is_in_proportion_to_the_values() -> None:
    drawn = draw([*[0.11] * 300, *[0.29] * 100])
    (outline,) = drawn.lines("l")
    floor = outline[0][1]
    areas = {True: 0.0, False: 0.0}
    for (x, y), (after, _) in itertools.pairwise(outline):
        areas[x < WIDTH / 2] += (after - x) * (floor - y)
    assert areas[True] == pytest.approx(3 * areas[False], rel=0.05)
    assert min(y for _, y in outline) == 32


def test_limit_value_and_interval_lie_on_one_axis() -> None:
    drawn = draw(EVEN, judged("p95", 0.29, 0.2, "200 ms", Status.FAIL, 0.28, 0.3))
    ticks = {label.text: label.at[0] for label in drawn.labels if label.css == "m"}
    assert list(ticks) == ["100", "150", "200", "250", "300 ms"]
    millisecond = (ticks["300 ms"] - ticks["100"]) / 200
    (limit,), (bar,), (dot,) = drawn.lines("L"), drawn.lines("i"), drawn.lines("o")
    assert limit[0][0] == pytest.approx(ticks["200"], abs=2)
    assert [point[0] for point in bar] == pytest.approx([ticks["100"] + at * millisecond for at in (180, 200)], abs=2)
    assert dot[0][0] == pytest.approx(ticks["100"] + 190 * millisecond, abs=2)
    assert bar[0][1] == dot[0][1]
    told = drawn.label("p95 290 ms (280 to 300) > 200 ms FAIL")
    assert "x" in told.css.split()
    assert "latency.ttft_p95 290 ms, limit 200 ms: FAIL" in drawn.description


def test_several_limits_have_a_row_each() -> None:
    limits = [judged("p50", 0.2, 0.25, "250 ms"), judged("p95", 0.29, 0.31, "310 ms"), judged("p99", 0.298, 1, "1 s")]
    drawn = draw(EVEN, *limits)
    assert len({line[0][1] for line in drawn.lines("o")}) == 3
    assert len(drawn.lines("L")) == 2, "a limit far beyond the values is only named"
    assert drawn.label("≤ 1 s")
    assert max(label.at[1] for label in drawn.labels) < drawn.height


def test_an_open_side_of_the_interval_reaches_to_the_end_of_the_axis() -> None:
    (bar,) = draw(EVEN, judged("p99", 0.29, 0.2, "200 ms", Status.INCONCLUSIVE, 0.28, None)).lines("i")
    assert bar[1][0] == pytest.approx(334, abs=1)


def test_a_limit_without_a_value_says_so() -> None:
    drawn = draw(EVEN, judged("p99_9", None, 0.2, "200 ms", Status.NOT_MEASURED))
    assert drawn.label("p99_9 NOT MEASURED, limit 200 ms")
    assert not drawn.lines("o")


def test_limits_of_other_metrics_are_left_out() -> None:
    drawn = draw(EVEN, verdict(Status.FAIL, "latency.e2e_p95", "latency.e2e", 0.2, "200 ms", 0.3))
    assert not drawn.lines("L")


def test_few_values_are_dots_of_their_own() -> None:
    drawn = draw([0.1, 0.2, 0.2, 0.3])
    dots = [line[0] for line in drawn.lines("o")]
    assert len(dots) == 4
    assert len(set(dots)) == 4
    assert dots[1][0] == dots[2][0]


def test_a_wide_span_has_a_logarithmic_axis() -> None:
    drawn = draw([0.001 * 10 ** (place / 100) for place in range(400)])
    ticks = [label.at[0] for label in drawn.labels if label.css == "m"]
    steps = [after - before for before, after in itertools.pairwise(ticks)]
    assert steps == pytest.approx([steps[0]] * len(steps), abs=2)
    assert drawn.label("1 ms")
    assert drawn.label("1 s")


def test_zeros_are_counted_beside_the_axis() -> None:
    drawn = draw([*[0.0] * 900, *EVEN], requests=50)
    assert drawn.label("900 are zero")
    assert drawn.label("1,900 values of 50 requests")
    assert not [label for label in drawn.labels if label.css == "m" and label.text.startswith("0 ")]


def test_percentiles_are_named_only_where_there_are_enough_requests() -> None:
    assert "p99" in draw(EVEN).description
    assert "p99" not in draw(EVEN, requests=200).description
    assert "mean 200 ms" in draw(EVEN, requests=3).description


def test_percentiles_are_those_of_the_readings_and_else_of_the_histogram() -> None:
    readings = {f"{METRIC}_p50": {"value": 0.2011}, "latency.e2e_p95": {"value": 9.0}}
    drawn = read_drawing(draw_distribution(METRIC, make_distribution(EVEN), [], "s", readings))
    assert "p50 201 ms" in drawn.description
    assert "9.00 s" not in drawn.description
    assert "p95" in drawn.description


@pytest.mark.parametrize("values", [[0.2], [0.0], [0.0, 0.0, 0.0]])
def test_no_distribution_is_drawn_of_one_value_or_of_zeros(values: list[float]) -> None:
    assert draw_distribution(METRIC, make_distribution(values), []) == ""


@pytest.mark.parametrize("values", [[0.2, 0.2], [1e-9, 1e-9], [0.2] * 5000, [1e-6, 1e6]])
@pytest.mark.parametrize("limit", [0.0, 1e-12, 0.2, 1e9, float("inf")])
def test_any_values_and_limits_stay_on_the_canvas(values: list[float], limit: float) -> None:
    drawn = draw(values, judged("p50", values[0], limit, "so much", Status.FAIL, values[0], None))
    for _, lines in drawn.paths:
        assert all(-1 <= x <= WIDTH + 1 and 0 <= y <= drawn.height for line in lines for x, y in line)


def test_a_histogram_of_many_values_stays_small() -> None:
    many = [0.1 * 1.001 ** (place % 1000) for place in range(100_000)]
    limits = [judged("p50", 0.2, 0.25, "250 ms"), judged("p95", 0.29, 0.31, "310 ms")]
    assert len(draw_distribution(METRIC, make_distribution(many), limits)) < 1500
