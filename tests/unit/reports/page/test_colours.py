"""The colours of the page have enough contrast in light and in dark (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

import pytest

from pytest_llmperf.reports.page.style import COLOURS

ENOUGH_FOR_TEXT, ENOUGH_FOR_MARKS = 4.5, 1.2


def find_luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    shares = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def find_contrast(one: str, other: str) -> float:
    darker, brighter = sorted((find_luminance(one), find_luminance(other)))
    return (brighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "raised"])
@pytest.mark.parametrize("name", ["ink", "dim", "link", "pass", "fail", "warn", "limit"])
def test_text_can_be_read(name: str, ground: str, scheme: int) -> None:
    assert find_contrast(COLOURS[f"--{name}"][scheme], COLOURS[f"--{ground}"][scheme]) >= ENOUGH_FOR_TEXT


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_what_is_drawn_stands_out_and_parts_differ(scheme: int) -> None:
    paper = COLOURS["--paper"][scheme]
    drawn = ("line", "line2", "line3", "line4", "queue", "prefill", "decode", "grid")
    assert all(find_contrast(COLOURS[f"--{name}"][scheme], paper) >= ENOUGH_FOR_MARKS for name in drawn)
    parts = [COLOURS[f"--{name}"][scheme] for name in ("queue", "prefill", "decode")]
    assert len(set(parts)) == 3
