"""Plots in a real browser, whose fonts decide how wide a name is: nothing covers anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.reports.plots.style import LIGHT, STYLE
from tests.helpers.crowded_plots import draw_crowded_plots

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.chromium import Chromium

# The box of each label, or of each of the labels in one text, with the number of its plot.
BOXES = """[...document.querySelectorAll('svg')].flatMap((plot, number) =>
    [...plot.querySelectorAll('text')].flatMap(text => {
        const {x, y, width, height} = text.getBBox(), room = plot.viewBox.baseVal;
        const box = (label, left, wide) => [number, label, left, y, left + wide, y + height, room.width, room.height];
        if (!text.children.length) return [box(text.textContent, x, width)];
        return [...text.children].map(part => {
            const wide = part.getComputedTextLength();
            return box(part.textContent, part.getAttribute('x') - wide / 2, wide);
        });
    }))"""
BLANK = 2.5
"""Above and below the letters a box is blank."""


def test_no_name_covers_another_one_or_leaves_its_plot(browser: Chromium, tmp_path: Path) -> None:
    path = tmp_path / "plots.html"
    colours = "".join(f"{name}:{colour};" for name, colour in LIGHT.items())
    style = f":root{{{colours}}}body{{font-family:sans-serif;width:720px}}{STYLE}"
    plots = draw_crowded_plots()
    path.write_text(f"<!doctype html><meta charset=utf-8><style>{style}</style>{''.join(plots)}", encoding="utf-8")
    browser.open(path)
    boxes = browser.run(BOXES)
    assert len({box[0] for box in boxes}) == len(plots)
    for place, (plot, label, left, top, right, bottom, width, height) in enumerate(boxes):
        assert left >= -1, label
        assert right <= width + 1, label
        assert top + BLANK >= 0, label
        assert bottom - BLANK <= height, label
        for other in boxes[place + 1 :]:
            across = left < other[4] - 1 and other[2] < right - 1
            upright = top + BLANK < other[5] - BLANK and other[3] + BLANK < bottom - BLANK
            assert not (plot == other[0] and across and upright), (label, other[1])
    assert browser.run("document.querySelectorAll('script').length") == 0
