"""A timeline as a line of blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.reports.wire.timeline import split_evenly

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.-:=+*#"


def draw_sparkline(values: Sequence[float], width: int, blocks: str = BLOCKS) -> str:
    """``values`` in at most ``width`` characters, each the largest of its bucket.

    The lowest block stands for the smallest value, the highest for the largest; where all are the
    same, all are low.
    """
    if not values or width < 1:
        return ""
    low, high = min(values), max(values)
    scale = (len(blocks) - 1) / (high - low) if high > low else 0.0
    return "".join(blocks[round((max(b) - low) * scale)] for b in split_evenly(values, min(width, len(values))))


def draw_timeline(points: Sequence[tuple[float, float]], width: int, blocks: str = BLOCKS) -> str:
    """Levels over time in at most ``width`` characters of equal time, each the highest level in it.

    A point holds its level until the next one.
    """
    span = points[-1][0] - points[0][0] if points else 0.0
    if span <= 0:
        return draw_sparkline([level for _, level in points], width, blocks)
    columns: list[list[float]] = [[] for _ in range(width)]
    for at, level in points:
        columns[min(width - 1, int((at - points[0][0]) / span * width))].append(level)
    highest, held = [], points[0][1]
    for column in columns:
        highest.append(max([held, *column]))
        held = column[-1] if column else held
    return draw_sparkline(highest, width, blocks)
