"""SVG as text: reports/plots/svg.py."""

from __future__ import annotations

import pytest

from pytest_llmperf.reports.plots.svg import Canvas, isolate, measure_text, shorten, trace, trace_steps, write_number
from tests.helpers.drawings import Point, read_drawing

HOSTILE = (
    "<script>alert(1)</script>",
    "]]><svg onload=x>",
    "\"quoted\" & 'single'",
    "nul \x00, bell \x07, escape \x1b[31m, surrogate \ud800",
    "turned \u202e round \u2066 and \u2069 back",
    "مرحبا بالعالم",
    "超長い名前" * 40,
)


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_is_a_text(text: str) -> None:
    canvas = Canvas(100, 20)
    canvas.add_text(isolate(text), "", (1, 12))
    drawn = read_drawing(canvas.render(text, text))
    assert len(drawn.labels) == 1
    assert not set(drawn.title + drawn.labels[0].text) & set("\x00\x07\x1b\u202e\u2066\ud800")


def test_a_label_from_right_to_left_is_closed_in() -> None:
    assert isolate("plain") == "plain"
    assert isolate("\u2069مرحبا\u2068") == "\u2068مرحبا\u2069"


@pytest.mark.parametrize("text", ["short", "a_name_of_a_test" * 9, "超長い名前" * 9, "e\u0301" * 90])
def test_a_label_is_shortened_to_its_room(text: str) -> None:
    found = shorten(text, 80)
    assert measure_text(found) <= 80
    assert found == text or "…" in found
    assert found[-1] == text[-1]


def test_numbers_are_short() -> None:
    assert [write_number(value) for value in (0, 1, 0.5, -0.5, 12.34, -0.04, 100)] == [
        "0", "1", ".5", "-.5", "12.3", "0", "100"
    ]  # fmt: skip


def test_rounding_does_not_add_up_along_a_line() -> None:
    points = [(place * 0.33, place * 0.33) for place in range(300)]
    canvas = Canvas(100, 100)
    canvas.add_path("l", trace(points))
    (line,) = read_drawing(canvas.render("t", "d")).lines("l")
    assert line[-1] == pytest.approx((round(points[-1][0]), points[-1][1]), abs=0.06)


def test_a_label_moves_out_of_the_way_of_another_one() -> None:
    canvas = Canvas(200, 60)
    canvas.add_text("the first", "", (10, 20))
    canvas.add_text("the second", "e", (60, 22), (60, 50))
    canvas.add_text("outside", "m", (198, 20), (150, 20))
    canvas.add_text("nowhere", "", (10, 20), (11, 21))
    assert [label.at for label in read_drawing(canvas.render("t", "d")).labels] == [
        (10, 20), (60, 50), (150, 20), (11, 21)
    ]  # fmt: skip


def test_labels_of_an_axis_stay_on_the_canvas() -> None:
    canvas = Canvas(100, 20)
    canvas.add_row(10, [(0, "0.0"), (50, "50"), (100, "100 ms")])
    first, middle, last = read_drawing(canvas.render("t", "d")).labels
    assert first.at[0] - measure_text("0.0") / 2 >= -0.5
    assert middle.at[0] == 50
    assert last.at[0] + measure_text("100 ms") / 2 <= 100.5


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], ()),
        ([(3, 4)], (((3, 4), (3, 4)),)),
        ([(0, 9), (5, 9), (8, 2), (9, 2), (20, 2)], (((0, 9), (8, 9), (8, 2), (20, 2)),)),
        ([(0, 9), (0, 5), (4, 9)], (((0, 9), (0, 5), (4, 5), (4, 9)),)),
    ],
)
def test_levels_hold_until_the_next_one(points: list[Point], expected: tuple[tuple[Point, ...], ...]) -> None:
    canvas = Canvas(100, 20)
    canvas.add_path("l", trace_steps(points))
    assert tuple(read_drawing(canvas.render("t", "d")).lines("l")) == expected
