"""Two engines, stored runs, and curves: reports/plots/pair.py, trend.py and curves.py."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pytest_llmperf.baselines.change_points import ChangePoint
from pytest_llmperf.baselines.history import Point, Series
from pytest_llmperf.budgets.interval import Interval
from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.measurement.units import REQUESTS_PER_SECOND, SECONDS
from pytest_llmperf.reports.plots.curves import Axis, Curve, CurvePoint, draw_curves
from pytest_llmperf.reports.plots.pair import draw_pair
from pytest_llmperf.reports.plots.trend import draw_trend
from tests.helpers.drawings import read_drawing
from tests.helpers.verdicts import verdict

OUTPUT = "throughput.output"


def pairs(*values: tuple[float | None, float | None], new: str = "new", old: str = "old") -> dict[str, object]:
    found = [{"new": one, "old": other, "reason": ""} for one, other in values]
    return {"new": new, "old": old, "values": {OUTPUT: found}}


def change(status: Status = Status.FAIL) -> Verdict:
    """20 % slower than 100 tok/s, of which 10 % are tolerated."""
    found = verdict(status, OUTPUT, OUTPUT, 90.0, "-10 %", 80.0, baseline=100.0, relative=True)
    return replace(found, interval=Interval(75.0, 85.0, 3, 3.0, "pair"))


def test_a_change_lies_on_its_interval_and_beside_what_is_tolerated() -> None:
    drawn = read_drawing(draw_pair(pairs((70, 100), (80, 100), (None, 100), (90, 100)), [change()]))
    ticks = {label.text: label.at[0] for label in drawn.labels if label.css == "m"}
    percent = (ticks["0 %"] - ticks["−30"]) / 30
    zero = ticks["0 %"]
    assert [line[0][0] for line in drawn.lines("d")] == pytest.approx(
        [zero - at * percent for at in (30, 20, 10)], abs=2
    )
    (bar,), (limit,), (beyond,) = drawn.lines("i"), drawn.lines("L"), drawn.lines("b")
    assert [point[0] for point in bar] == pytest.approx([zero - 25 * percent, zero - 15 * percent], abs=2)
    assert limit[0][0] == pytest.approx(zero - 10 * percent, abs=2)
    assert beyond[1][0] == limit[0][0] > beyond[0][0], "less throughput than tolerated lies on the left"
    assert "x" in drawn.label("-20.0 % (-25.0 to -15.0) FAIL").css
    assert "3 pairs, limit -10 %: FAIL" in drawn.description


def test_a_pair_without_a_ratio_is_not_drawn() -> None:
    assert draw_pair(pairs((None, 1.0), (1.0, None), (1.0, 0.0)), [change()]) == ""
    assert draw_pair({}, [change()]) == ""


def test_pairs_without_a_verdict_are_drawn_with_what_there_is() -> None:
    undecided = verdict(Status.NOT_MEASURED, OUTPUT, OUTPUT, None, "-10 %", relative=True)
    drawn = read_drawing(draw_pair(pairs((1.0, 1.0)), [undecided]))
    assert len(drawn.lines("d")) == 1
    assert not drawn.lines("i")
    assert drawn.label("NOT MEASURED")


# ------------------------------------------------------------------------------------------------------ trend


def series(values: list[float], *changes: ChangePoint, anchor: float | None = None, better: str = "lower") -> Series:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    points = [
        Point(start + timedelta(days=place), f"run{place}", f"{place:040x}", "1", "", value)
        for place, value in enumerate(values)
    ]
    return Series("t", "latency.ttft_p50", "f", "on", "s", better, tuple(points), 1, anchor, changes)


def test_levels_and_changes_lie_between_their_runs() -> None:
    values = [0.1] * 10 + [0.2] * 5
    drawn = read_drawing(draw_trend(series(values, ChangePoint(10, 0.1, 0.2, 0.003), anchor=0.1).as_plain()))
    dots = [line[0] for line in drawn.lines("d")]
    assert len(dots) == 15
    assert len({y for _, y in dots}) == 2
    before, after = drawn.lines("l")
    (mark,) = drawn.lines("X")
    assert before[1][0] < mark[0][0] < after[0][0]
    assert before[0][1] > after[0][1]
    assert drawn.lines("n")[0][0][1] == before[0][1], "the anchor has the level of the first runs"
    assert "x" in drawn.label("+100 % worse").css
    assert {"2026-01-01", "2026-01-15"} <= set(drawn.texts)
    assert "+100 % for the worse from 2026-01-11 on, 00000000" in drawn.description
    assert "1 without a value" in drawn.description


def test_a_change_for_the_better_is_no_alarm() -> None:
    change_point = ChangePoint(3, 1.0, 2.0, 0.003)
    drawn = read_drawing(draw_trend(series([1.0] * 3 + [2.0] * 3, change_point, better="higher").as_plain()))
    assert not drawn.lines("X")
    assert "for the better" in drawn.description


@pytest.mark.parametrize("values", [[0.1], [0.0], [0.0, 0.0], [0.1, 0.1], [-1.0, 1.0]])
def test_any_history_is_drawn(values: list[float]) -> None:
    drawn = read_drawing(draw_trend(series(values).as_plain()))
    assert drawn.lines("d")
    assert all(0 <= y <= drawn.height for _, lines in drawn.paths for line in lines for _, y in line)


def test_no_value_is_no_trend() -> None:
    assert draw_trend(series([]).as_plain()) == ""


def test_many_runs_and_many_changes_stay_small() -> None:
    values = [1.0 + place // 100 % 2 + place % 7 / 100 for place in range(5000)]
    changes = [
        ChangePoint(place, 1.0 + place // 100 % 2, 2.0 - place // 100 % 2, 0.003) for place in range(100, 5000, 100)
    ]
    svg = draw_trend(series(values, *changes).as_plain())
    assert len(svg) < 9000
    labels = [label for label in read_drawing(svg).labels if "worse" in label.text]
    assert 1 <= len(labels) <= 8


# ----------------------------------------------------------------------------------------------------- curves

RATE, TTFT = Axis("rate", REQUESTS_PER_SECOND), Axis("latency.ttft_p95", SECONDS)


def test_curves_share_their_axes_and_are_named_at_their_ends() -> None:
    curves = [
        Curve("fast", [CurvePoint(2, 0.2, 0.15, 0.3), CurvePoint(1, 0.1), CurvePoint(4, 0.4)]),
        Curve("slow", [CurvePoint(1, 0.2), CurvePoint(4, 0.8)]),
    ]
    drawn = read_drawing(draw_curves(curves, RATE, TTFT, 0.5))
    fast, slow = drawn.lines("l")
    assert [x for x, _ in fast] == sorted(x for x, _ in fast)
    assert fast[2][0] == slow[1][0]
    assert fast[1][1] == pytest.approx(slow[0][1], abs=0.2)
    ((bar_low, bar_high),) = drawn.lines("v")
    assert bar_low[1] > fast[1][1] > bar_high[1]
    ((limit, _),) = drawn.lines("L")
    assert slow[1][1] < limit[1] < fast[2][1]
    assert drawn.label("fast").at[1] == pytest.approx(fast[2][1] + 4, abs=1)
    assert "slow: 200 ms to 800 ms in 2 points" in drawn.description


def test_names_of_curves_that_end_together_do_not_hide_one_another() -> None:
    curves = [Curve(f"engine {place}", [CurvePoint(1, 1), CurvePoint(2, 2)]) for place in range(4)]
    labels = [label for label in read_drawing(draw_curves(curves, RATE, TTFT)).labels if "engine" in label.text]
    heights = sorted(label.at[1] for label in labels)
    assert all(after - before >= 11 for before, after in itertools.pairwise(heights))


@pytest.mark.parametrize(
    "curves", [[], [Curve("none", [])], [Curve("nan", [CurvePoint(math.nan, 1), CurvePoint(1, math.inf)])]]
)
def test_without_a_point_nothing_is_drawn(curves: list[Curve]) -> None:
    assert draw_curves(curves, RATE, TTFT) == ""


@pytest.mark.parametrize("points", [[(1, 1)], [(0, 0)], [(1, 1), (1000, 1000)], [(0, 0), (1, 1e9)], [(2, 5), (2, 6)]])
@pytest.mark.parametrize("limit", [None, 0.0, 1e12, math.inf])
def test_any_curve_stays_on_the_canvas(points: list[tuple[float, float]], limit: float | None) -> None:
    curve = Curve("<script>alert(1)</script>", [CurvePoint(x, y) for x, y in points])
    drawn = read_drawing(draw_curves([curve], RATE, TTFT, limit))
    for _, lines in drawn.paths:
        assert all(0 <= x <= drawn.width and 0 <= y <= drawn.height for line in lines for x, y in line)
