"""Metrics over a rate or a concurrency: one curve for each engine, with its interval, and the limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.units import Quantity, format_value
from pytest_llmperf.reports.plots.scale import Scale, fit_scale, list_ticks
from pytest_llmperf.reports.plots.svg import Canvas, isolate, shorten, trace, trace_across, trace_dots, trace_upright

if TYPE_CHECKING:
    from collections.abc import Sequence


WIDTH = 720
_LEFT, _RIGHT = 58.0, 560.0
_TOP, _FLOOR = 22.0, 202.0
_LOG_FROM = 30.0
_FAR = 2.5
"""A limit that is so many times as high as the curves is named at the edge, and squashes nothing."""
COUNT = Quantity("count", "", {"": 1.0}, ("",), "8")
"""Of an axis that counts, as of requests at once."""


@dataclass(frozen=True)
class CurvePoint:
    """A measured point of a curve; ``low`` and ``high`` bound its ``y``, None where they do not."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Curve:
    """The points of one engine, in any order."""

    label: str
    points: Sequence[CurvePoint]


@dataclass(frozen=True)
class Axis:
    """What an axis shows: its name, such as ``rate``, and the kind of its values."""

    name: str
    quantity: Quantity


def draw_curves(curves: Sequence[Curve], x: Axis, y: Axis, limit: float | None = None) -> str:
    """Several curves on common axes; empty without a point. ``limit`` is one of ``y``, in its base unit."""
    shown = [Curve(curve.label, points) for curve in curves if (points := _sort(curve.points))]
    if not shown:
        return ""
    across = _fit([point.x for curve in shown for point in curve.points], _LEFT, _RIGHT)
    heights = [point.y for curve in shown for point in curve.points]
    near = [] if limit is None or limit > _FAR * max(heights) else [limit]
    up = _fit([*heights, *near], _FLOOR, _TOP)
    canvas = Canvas(WIDTH, _FLOOR + 30)
    _draw_axes(canvas, across, up, x, y)
    told = [_draw_curve(canvas, across, up, curve, number, y.quantity) for number, curve in enumerate(shown)]
    if limit is not None:
        text = f"limit {format_value(limit, y.quantity)}"
        if up.holds(limit):
            canvas.add_path("L", trace_across([(_LEFT, _RIGHT, up.place(limit))]))
            canvas.add_text(text, "t", *((_LEFT + 4, up.place(limit) + drop) for drop in (-4, 12)))
        else:
            canvas.add_text(f"↑ {text}", "t", (_RIGHT - 100, 10))
        told.append(f"The {text}.")
    return canvas.render(f"{y.name} over {x.name}", " ".join(told))


def _draw_axes(canvas: Canvas, across: Scale, up: Scale, x: Axis, y: Axis) -> None:
    columns = [(across.place(tick.value), tick.label) for tick in list_ticks(across, x.quantity, 8)]
    rows = [(up.place(tick.value), tick.label) for tick in list_ticks(up, y.quantity, 6)]
    lines = trace_upright((place, _TOP, _FLOOR) for place, _ in columns)
    canvas.add_path("g", lines + trace_across((_LEFT, _RIGHT, place) for place, _ in rows))
    canvas.add_row(_FLOOR + 13, columns)
    for place, label in rows:
        canvas.add_text(label, "e", (_LEFT - 5, place + 4))
    canvas.add_text(y.name, "h", (_LEFT, 10))
    canvas.add_text(x.name, "e k", (_RIGHT, _FLOOR + 26))


def _sort(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    return sorted((p for p in points if math.isfinite(p.x) and math.isfinite(p.y)), key=lambda point: point.x)


def _fit(values: Sequence[float], start: float, end: float) -> Scale:
    low, high = min(values), max(values)
    is_log = low > 0 and high / low >= _LOG_FROM
    return fit_scale(values, start, end, with_zero=not is_log, is_log=is_log)


def _draw_curve(canvas: Canvas, across: Scale, up: Scale, curve: Curve, number: int, quantity: Quantity) -> str:
    series = f"c{number % 4}" if number else ""
    placed = [(across.place(point.x), up.place(point.y)) for point in curve.points]
    bars = [
        (across.place(p.x), up.place(p.y if p.low is None else p.low), up.place(p.y if p.high is None else p.high))
        for p in curve.points
        if p.low is not None or p.high is not None
    ]
    canvas.add_path(f"v {series}".strip(), trace_upright(bars))
    canvas.add_path(f"l {series}".strip(), trace(placed))
    canvas.add_path(f"o {series}".strip(), trace_dots((round(x), y) for x, y in placed))
    x, y = placed[-1]
    label = shorten(curve.label, WIDTH - x - 10)
    canvas.add_text(label, "k", *((x + 8, y + shift) for shift in (4, -8, 16, -20, 28, -32, 40)))
    least, most = (format_value(value, quantity) for value in (curve.points[0].y, curve.points[-1].y))
    counted = f"{len(curve.points)} point{'' if len(curve.points) == 1 else 's'}"
    return f"{isolate(curve.label)}: {least} to {most} in {counted}."
