"""The style sheet of the drawings: reports/plots/style.py."""

from __future__ import annotations

import itertools
import math
import re
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.plots import style

if TYPE_CHECKING:
    from collections.abc import Mapping

BACKGROUNDS = [(style.LIGHT, "#ffffff"), (style.DARK, "#14171b")]
TEXTS = ("--ink", "--dim", "--limit", "--fail")
# How those see who lack the cones for red, for green or for blue (Machado et al., 2009, full strength), on linear RGB.
COLOUR_BLIND = {
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def to_linear(colour: str) -> list[float]:
    """The components of ``#rrggbb`` as shares of light."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2."""
    lights = [
        sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), to_linear(c), strict=True)) for c in (one, other)
    ]
    return float((max(lights) + 0.05) / (min(lights) + 0.05))


def distance(one: str, other: str, kind: str) -> float:
    """How far apart two colours look, as the distance in CIELAB."""
    found = []
    for colour in (one, other):
        linear = to_linear(colour)
        seen = [sum(w * part for w, part in zip(row, linear, strict=True)) for row in COLOUR_BLIND[kind]]
        r, g, b = (min(1.0, max(0.0, part)) for part in seen)
        xyz = (
            (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
            0.2126 * r + 0.7152 * g + 0.0722 * b,
            (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
        )
        x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in xyz)
        found.append((116 * y - 16, 500 * (x - y), 200 * (y - z)))
    return math.dist(*found)


def test_the_style_sheet_asks_for_the_colours_that_there_are() -> None:
    asked = set(re.findall(r"var\((--[a-z0-9]+)\)", style.STYLE))
    assert asked - {"--paper"} == set(style.LIGHT) == set(style.DARK)
    assert "#" not in style.STYLE
    assert "font-family" not in style.STYLE


@pytest.mark.parametrize(("colours", "background"), BACKGROUNDS)
def test_everything_stands_out_from_its_background(colours: Mapping[str, str], background: str) -> None:
    for name, colour in colours.items():
        if name != "--grid":
            assert contrast(colour, background) >= (4.5 if name in TEXTS else 3.0), name


@pytest.mark.parametrize(("colours", "background"), BACKGROUNDS)
@pytest.mark.parametrize("kind", COLOUR_BLIND)
def test_the_colour_blind_can_tell_the_phases_and_the_curves(
    colours: Mapping[str, str], background: str, kind: str
) -> None:
    curves = ("--line", "--line2", "--line3", "--line4")
    pairs = [("--prefill", "--decode"), ("--queue", "--prefill"), ("--line", "--limit")]
    for one, other in [*pairs, *itertools.combinations(curves, 2)]:
        assert distance(colours[one], colours[other], kind) >= 14, (one, other)
