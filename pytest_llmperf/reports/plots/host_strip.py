"""What the devices and the host did over a test as a strip: clocks, throttling and pressure on its time axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import SECONDS, format_value
from pytest_llmperf.reports.plots.scale import Scale, fit_scale
from pytest_llmperf.reports.plots.svg import Canvas, isolate, shorten, trace, trace_across
from pytest_llmperf.reports.plots.time_axis import LEFT, RIGHT, WIDTH, draw_time_grid, make_time_scale
from pytest_llmperf.reports.wire.timeline import downsample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROW = 22.0
_MOST_POINTS = 64


def draw_host_strip(measurement: Mapping[str, Any]) -> str:
    """Clocks, throttling and pressure over a test; empty if nothing of it was read over time.

    It stands below the memory, whose labels of time are its own.

    Args:
        measurement: in its wire form, with ``series``.
    """
    series = measurement.get("series") or {}
    clocks = {name: points for name, points in (series.get("clocks") or {}).items() if points}
    throttle, pressure = series.get("throttle") or [], series.get("pressure") or []
    rows = len(clocks) + bool(throttle) + bool(pressure)
    if not rows:
        return ""
    time = make_time_scale(measurement)
    canvas = Canvas(WIDTH, rows * _ROW + 2)
    draw_time_grid(canvas, time, 2, rows * _ROW, labelled=False)
    told, top = [], 0.0
    for name, points in clocks.items():
        told.append(_draw_clock(canvas, time, name, points, top))
        top += _ROW
    if throttle:
        told.append(_draw_throttling(canvas, time, throttle, top))
        top += _ROW
    if pressure:
        told.append(_draw_pressure(canvas, time, pressure, top))
    return canvas.render("State of the devices and the host over time", " ".join(told))


def _draw_clock(canvas: Canvas, time: Scale, name: str, points: Sequence[Sequence[float]], top: float) -> str:
    known = [(float(at), float(clock)) for at, clock in points]
    low, high = min(clock for _, clock in known), max(clock for _, clock in known)
    scale = fit_scale([clock for _, clock in known], top + _ROW - 4, top + 4, with_zero=True)
    canvas.add_path("l", trace([(time.place(at), scale.place(clock)) for at, clock in downsample(known, _MOST_POINTS)]))
    canvas.add_text("clock", "e", (LEFT - 5, top + 15))
    span = f"{low:.0f} MHz" if low == high else f"{low:.0f}–{high:.0f} MHz"
    canvas.add_text(span, "", (RIGHT + 5, top + 15))
    return f"{isolate(name)}: clock {low:.0f} to {high:.0f} MHz."


def _draw_throttling(canvas: Canvas, time: Scale, spans: Sequence[Sequence[Any]], top: float) -> str:
    middle = top + _ROW / 2
    canvas.add_path("s", trace_across((time.place(start), time.place(end), middle) for start, end, _ in spans))
    reasons: dict[str, float] = {}
    for start, end, reason in spans:
        reasons[str(reason)] = reasons.get(str(reason), 0.0) + float(end) - float(start)
    canvas.add_text("throttled", "e", (LEFT - 5, top + 15))
    first = max(reasons, key=lambda reason: reasons[reason])
    canvas.add_text(shorten(first, WIDTH - RIGHT - 5), "", (RIGHT + 5, top + 15))
    told = (f"{isolate(reason)} for {format_value(seconds, SECONDS)}" for reason, seconds in reasons.items())
    return f"Throttled: {', '.join(told)}."


def _draw_pressure(canvas: Canvas, time: Scale, points: Sequence[Sequence[float]], top: float) -> str:
    known = [(float(at), float(share)) for at, share in points]
    shares = [share for _, share in known]
    scale = Scale(0.0, 1.0, top + _ROW - 3, top + 3)
    canvas.add_path("l", trace([(time.place(at), scale.place(share)) for at, share in downsample(known, _MOST_POINTS)]))
    canvas.add_text("pressure", "e", (LEFT - 5, top + 15))
    kind = "mean" if min(shares) == max(shares) else "up to"
    text = f"{kind} {100 * max(shares):.0f} %"
    canvas.add_text(f"CPU, {text}", "", (RIGHT + 5, top + 15))
    return f"Pressure on the CPU: {text}."
