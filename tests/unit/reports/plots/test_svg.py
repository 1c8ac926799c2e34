"""SVG as text: reports/plots/svg.py."""

from __future__ import annotations

import pytest

from pytest_llmperf.reports.plots.svg import Canvas, isolate, measure_text, shorten, trace, write_number
from tests.helpers.drawings import read_drawing

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
    canvas.add_text((1, 2), isolate(text))
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
    assert line[-1] == pytest.approx(points[-1], abs=0.06)
