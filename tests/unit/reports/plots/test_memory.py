"""Memory and requests over time: reports/plots/memory.py, lanes.py and time_axis.py."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.reports.plots.lanes import draw_key
from pytest_llmperf.reports.plots.memory import draw_memory
from pytest_llmperf.reports.plots.time_axis import LEFT, RIGHT
from tests.helpers.crowded_plots import make_measurement
from tests.helpers.drawings import read_drawing
from tests.helpers.verdicts import verdict

GIB = 2**30


def peak(limit: float, measured: float = 3 * GIB, status: Status = Status.PASS) -> Verdict:
    return verdict(status, "memory.peak", "memory.peak", limit, f"{limit / GIB:g} GiB", measured)


def test_levels_and_limit_lie_where_their_values_are() -> None:
    rising = {"host": [[0.0, 1 * GIB], [5.0, 3 * GIB], [10.0, 2 * GIB]]}
    drawn = read_drawing(draw_memory(make_measurement(rising), [peak(4 * GIB)]))
    (line,) = drawn.lines("l")
    (limit,) = drawn.lines("L")
    xs, ys = zip(*line, strict=True)
    assert xs == pytest.approx((LEFT, (LEFT + RIGHT) / 2, RIGHT), abs=1)
    assert ys[0] - ys[2] == pytest.approx(ys[2] - ys[1], abs=1.1)
    assert ys[1] - limit[0][1] == pytest.approx(ys[2] - ys[1], abs=1.1)
    assert drawn.lines("o") == [(line[1], line[1])]
    assert "1.00 GiB at the start, peak 3.00 GiB after 5.00 s" in drawn.description
    assert "memory.peak 3.00 GiB, limit 4 GiB: PASS" in drawn.description


def test_a_limit_far_above_is_named_and_squashes_nothing() -> None:
    drawn = read_drawing(draw_memory(make_measurement({"host": [[0, GIB], [10, 2 * GIB]]}), [peak(400 * GIB)]))
    assert not drawn.lines("L")
    assert "400 GiB" in drawn.label("↑").text
    (line,) = drawn.lines("l")
    assert abs(line[0][1] - line[1][1]) > 30


def test_requests_lie_below_on_the_same_time() -> None:
    lanes: list[list[Any]] = [
        [0.0, 2.5, 5.0, "answered", 1.0],
        [2.5, None, 7.5, "failed", None],
        [5.0, 6.0, 10.0, "short", None],
    ]
    drawn = read_drawing(draw_memory(make_measurement({"host": [[0, GIB], [10, GIB]]}, lanes), []))
    at = {second: LEFT + (RIGHT - LEFT) * second / 10 for second in (0, 1, 2.5, 5, 6, 7.5, 10)}
    assert _spans(drawn.lines("w")) == [pytest.approx((at[0], at[1]), abs=1)]
    assert _spans(drawn.lines("p")) == [
        pytest.approx(span, abs=1) for span in ((at[1], at[2.5]), (at[5], at[6]), (at[2.5], at[7.5]))
    ]
    assert _spans(drawn.lines("d")) == [pytest.approx(span, abs=1) for span in ((at[2.5], at[5]), (at[6], at[10]))]
    rows = [line[0][1] for line in drawn.lines("p")]
    assert rows[0] == rows[1] < rows[2], "a row is free again when its request has ended"
    cross = drawn.lines("X")
    assert len(cross) == 2
    assert sum(point[0] for line in cross for point in line) / 4 == pytest.approx(at[7.5], abs=1)
    assert drawn.label("✗ 1 of 3 failed")
    assert "3 requests, up to 2 at once, 1 failed, the longest took 5.00 s" in drawn.description


def test_a_level_is_called_a_peak_only_if_the_peak_was_measured() -> None:
    measured = make_measurement({"L4": [[0, GIB], [10, 2 * GIB]]})
    assert read_drawing(draw_memory(measured, [])).label("peak 2.00 GiB")
    drawn = read_drawing(draw_memory({**measured, "readings": {}}, []))
    assert drawn.label("highest level 2.00 GiB")
    assert "peak" not in drawn.description


def test_requests_that_were_refused_at_once_are_drawn() -> None:
    lanes: list[list[Any]] = [[1.0, None, 1.0, "failed", None], [1.0, 1.5, 2.0, "answered", None]] * 3
    drawn = read_drawing(draw_memory(make_measurement(None, lanes), []))
    assert len(drawn.lines("X")) == 6
    assert len(drawn.lines("d")) == 3


def test_levels_are_told_in_the_units_of_the_limit() -> None:
    limit = verdict(Status.PASS, "memory.peak", "memory.peak", 3e9, "3 GB", 2e9)
    drawn = read_drawing(draw_memory(make_measurement({"host": [[0, 1e9], [10, 2e9]]}), [limit]))
    assert drawn.label("peak 2.00 GB")
    assert {"0", "1", "2", "3 GB"} <= set(drawn.texts)


def test_limits_that_lie_near_one_another_keep_their_names_apart() -> None:
    limits = [peak(4 * GIB), verdict(Status.FAIL, "memory.growth", "memory.growth", 2.98 * GIB, "2.98 GiB", 3 * GIB)]
    drawn = read_drawing(draw_memory(make_measurement({"NVIDIA L4": [[0, GIB], [10, 3 * GIB]]}), limits))
    names = [drawn.label("memory.peak ≤ 4 GiB"), drawn.label("memory.growth ≤ 2.98 GiB")]
    assert names[0].at != names[1].at
    assert abs(names[0].at[1] - names[1].at[1]) >= 11 or abs(names[0].at[0] - names[1].at[0]) >= 130
    assert "x" in names[1].css.split()
    assert "x" not in names[0].css.split()


def test_each_device_has_a_line_and_a_name_and_the_host_only_with_a_limit() -> None:
    levels = {
        name: [[0.0, level * GIB], [10.0, level * GIB]] for name, level in (("L4", 10), ("L4 #2", 10), ("host", 9))
    }
    drawn = read_drawing(draw_memory(make_measurement(levels), [peak(12 * GIB)]))
    assert len(drawn.lines("l")) == 2
    assert {"L4", "L4 #2"} <= set(drawn.texts)
    assert len([text for text in drawn.texts if text.startswith("highest level")]) == 1
    assert drawn.label("L4 #2").at[1] != next(label for label in drawn.labels if label.text == "L4").at[1]
    assert not drawn.lines("L"), "the peak is one of both devices together"
    limited = verdict(Status.PASS, "memory.host_peak", "memory.host_peak", 11 * GIB, "11 GiB", 9 * GIB)
    drawn = read_drawing(draw_memory(make_measurement(levels), [limited]))
    assert len(drawn.lines("l")) == 3
    assert len(drawn.lines("L")) == 1


@pytest.mark.parametrize("levels", [[[0.0, 0]], [[0.0, 5], [0.0, 5]], [[0.0, 0], [1.0, 0]]])
def test_one_point_and_levels_of_zero_are_drawn(levels: list[list[float]]) -> None:
    drawn = read_drawing(draw_memory(make_measurement({"host": levels}, seconds=0.0), []))
    assert all(0 <= x <= drawn.width and 0 <= y <= drawn.height for line in drawn.lines("l") for x, y in line)


def test_a_hundred_thousand_points_are_thinned_and_the_peak_stays() -> None:
    levels = [[at / 1e4, GIB + (at * 7919) % 1000 * 1e5] for at in range(100_000)]
    levels[54_321][1] = 3 * GIB
    lanes = [[at / 1e4, at / 1e4 + 0.01, at / 1e4 + 0.1, "answered", None] for at in range(200)]
    svg = draw_memory({**make_measurement({"host": levels}, lanes), "lanes_of": 100_000}, [peak(3.5 * GIB)])
    assert len(svg) < 4000
    drawn = read_drawing(svg)
    ((dot, _),) = drawn.lines("o")
    assert min(y for _, y in drawn.lines("l")[0]) == dot[1]
    assert drawn.label("60 of 100,000")
    assert "60 of them drawn" in drawn.description


def _spans(lines: list[tuple[tuple[float, float], ...]]) -> list[tuple[float, float]]:
    return [(line[0][0], line[-1][0]) for line in lines]


def test_without_memory_there_are_the_requests_and_without_both_nothing() -> None:
    assert (
        read_drawing(draw_memory(make_measurement(None, [[0, 1, 2, "answered", None]]), [])).title
        == "Requests over time"
    )
    assert draw_memory(make_measurement(), []) == ""
    assert draw_memory({"window": {"seconds": 1.0}, "requests": {"total": 0, "failed": 0}}, []) == ""


def test_the_key_has_each_form_that_the_lanes_have() -> None:
    drawn = read_drawing(draw_key())
    assert drawn.texts == ["queue", "prefill", "decode", "failed"]
    assert [css for css, _ in drawn.paths] == ["w", "p", "d", "X"]


def test_the_number_of_drawn_requests_stands_beside_them_and_that_of_failed_ones_below_it() -> None:
    lanes = [[at / 10, at / 10 + 0.1, at / 10 + 1, "failed" if at == 3 else "answered", None] for at in range(90)]
    drawn = read_drawing(draw_memory(make_measurement(None, lanes), []))
    assert drawn.label("60 of 90 requests").at[1] < drawn.label("1 of 90 failed").at[1]
