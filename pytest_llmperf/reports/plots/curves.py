"""Metrics over a rate or a concurrency: one curve for each engine, with its interval, and the limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.units import format_value
from pytest_llmperf.reports.plots.scale import Scale, fit_scale, list_ticks
from pytest_llmperf.reports.plots.svg import Canvas, isolate, shorten, trace, trace_across, trace_dots, trace_upright

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.units import Quantity

WIDTH = 720
_LEFT, _RIGHT = 58.0, 560.0
_TOP, _FLOOR = 22.0, 202.0
_LOG_FROM = 30.0


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
    shown = [Curve(curve.label, _sort(curve.points)) for curve in curves if _sort(curve.points)]
    if not shown:
        return ""
    across = _fit([point.x for curve in shown for point in curve.points], _LEFT, _RIGHT)
    heights = [point.y for curve in shown for point in curve.points]
    up = _fit([*heights, *([] if limit is None else [limit])], _FLOOR, _TOP)
    canvas = Canvas(WIDTH, _FLOOR + 34)
    for tick in list_ticks(across, x.quantity, 8):
        canvas.add_path("g", trace_upright([(across.place(tick.value), _TOP, _FLOOR)]))
        canvas.add_text((across.place(tick.value), _FLOOR + 13), tick.label, "m")
    for tick in list_ticks(up, y.quantity, 6):
        canvas.add_path("g", trace_across([(_LEFT, _RIGHT, up.place(tick.value))]))
        canvas.add_text((_LEFT - 5, up.place(tick.value) + 4), tick.label, "e")
    canvas.add_text((_LEFT, 11), y.name, "h")
    canvas.add_text((_RIGHT, _FLOOR + 28), x.name, "e k")
    if limit is not None:
        canvas.add_path("L", trace_across([(_LEFT, _RIGHT, up.place(limit))]))
        canvas.add_text((_RIGHT + 5, up.place(limit) + 4), f"limit {format_value(limit, y.quantity)}", "x")
    told = [_draw_curve(canvas, across, up, curve, number, y.quantity) for number, curve in enumerate(shown)]
    return canvas.render(f"{y.name} over {x.name}", " ".join(told))


def _sort(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    return sorted((p for p in points if math.isfinite(p.x) and math.isfinite(p.y)), key=lambda point: point.x)


def _fit(values: Sequence[float], start: float, end: float) -> Scale:
    low, high = min(values), max(values)
    is_log = low > 0 and high / low >= _LOG_FROM
    return fit_scale(values, start, end, with_zero=not is_log, is_log=is_log)


def _draw_curve(canvas: Canvas, across: Scale, up: Scale, curve: Curve, number: int, quantity: Quantity) -> str:
    css = f"c{number % 4}"
    placed = [(across.place(point.x), up.place(point.y)) for point in curve.points]
    bars = [
        (across.place(p.x), up.place(p.y if p.low is None else p.low), up.place(p.y if p.high is None else p.high))
        for p in curve.points
        if p.low is not None or p.high is not None
    ]
    canvas.add_path(f"i {css}", trace_upright(bars))
    canvas.add_path(f"l {css}", trace(placed))
    canvas.add_path(f"o {css}", trace_dots(placed))
    canvas.add_text((placed[-1][0] + 8, placed[-1][1] + 4), shorten(curve.label, WIDTH - placed[-1][0] - 8), "k")
    least, most = (format_value(value, quantity) for value in (curve.points[0].y, curve.points[-1].y))
    return f"{isolate(curve.label)}: {least} to {most} in {len(curve.points)} points."
