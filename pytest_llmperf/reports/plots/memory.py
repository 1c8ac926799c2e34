"""The memory of a test over time with its limits, and the requests as lanes below it on the same time axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_llmperf.measurement.units import BYTES, SECONDS, format_value
from pytest_llmperf.reports.plots.lanes import draw_lanes, measure_lanes
from pytest_llmperf.reports.plots.scale import Scale, fit_scale, list_ticks
from pytest_llmperf.reports.plots.svg import Canvas, isolate, shorten, trace, trace_across, trace_area, trace_dots
from pytest_llmperf.reports.plots.time_axis import LEFT, RIGHT, WIDTH, draw_time_grid, make_time_scale
from pytest_llmperf.reports.wire.timeline import downsample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.reports.plots.svg import Point

_TOP, _BOTTOM = 16.0, 116.0
_MOST_POINTS = 128
_FAR = 2.5
"""A limit that is so many times as high as the levels is named at the upper edge, and squashes nothing."""
_ROOM_BELOW = 20


class Line(NamedTuple):
    """One level over time.

    Attributes:
        name: of the device, or ``host``.
        points: pairs of seconds from the start of the test and bytes, in order.
        limits: the verdicts on its level, with the level in bytes at which each limit lies.
    """

    name: str
    points: Sequence[tuple[float, float]]
    limits: Sequence[tuple[float, Verdict]]

    @property
    def peak(self) -> tuple[float, float]:
        """The highest point."""
        return max(self.points, key=lambda point: point[1])


def draw_memory(measurement: Mapping[str, Any], verdicts: Sequence[Verdict]) -> str:
    """The memory of the engine over a test, with its limits, and the requests below; empty if neither is known.

    Args:
        measurement: in its wire form.
        verdicts: all of the test; those on its memory are drawn.
    """
    lines = list_lines(measurement, verdicts)
    lanes_height = measure_lanes(measurement)
    if not lines and not lanes_height:
        return ""
    time = make_time_scale(measurement)
    lanes_top = _BOTTOM + 8 if lines else 4.0
    bottom = lanes_top + lanes_height if lanes_height else _BOTTOM
    canvas = Canvas(WIDTH, bottom + _ROOM_BELOW)
    draw_time_grid(canvas, time, _TOP if lines else lanes_top, bottom, labelled=True)
    told = [*_draw_levels(canvas, time, lines)] if lines else []
    if lanes_height:
        told.append(draw_lanes(canvas, time, measurement, lanes_top))
    title = (
        "Memory and requests over time"
        if lanes_height and lines
        else "Memory over time"
        if lines
        else "Requests over time"
    )
    return canvas.render(title, " ".join(told))


def list_lines(measurement: Mapping[str, Any], verdicts: Sequence[Verdict]) -> list[Line]:
    """What is known of the memory over time: a line for each device, or for the host."""
    series = (measurement.get("series") or {}).get("memory") or {}
    found = []
    for name, points in series.items():
        on_host = name == "host"
        judged = [verdict for verdict in verdicts if _is_of(verdict, on_host=on_host, alone=len(series) == 1)]
        known = [(float(at), float(level)) for at, level in points]
        if known:
            levels = [(level, verdict) for verdict in judged if (level := _find_level(verdict, known)) is not None]
            found.append(Line(name, known, levels))
    return found


def _is_of(verdict: Verdict, *, on_host: bool, alone: bool) -> bool:
    if verdict.name == "memory.host_peak":
        return on_host
    return verdict.name in ("memory.peak", "memory.growth") and (alone or not on_host)


def _find_level(verdict: Verdict, points: Sequence[tuple[float, float]]) -> float | None:
    """Where the limit lies on the axis of the level."""
    if verdict.limit is None:
        return None
    return points[0][1] + verdict.limit if verdict.name == "memory.growth" else verdict.limit


def _draw_levels(canvas: Canvas, time: Scale, lines: Sequence[Line]) -> list[str]:
    levels = [level for line in lines for _, level in line.points]
    highest = max(levels)
    near = [level for line in lines for level, _ in line.limits if level <= _FAR * highest]
    from_zero = min([*levels, *near]) < max([*levels, *near]) / 2
    scale = fit_scale([*levels, *near], _BOTTOM, _TOP, with_zero=from_zero)
    for tick in list_ticks(scale, BYTES, 5):
        y = scale.place(tick.value)
        canvas.add_path("g", trace_across([(LEFT, RIGHT, y)]))
        canvas.add_text((LEFT - 5, y + 4), tick.label, "e")
    return [text for place, line in enumerate(lines) for text in _draw_line(canvas, time, scale, line, place)]


def _draw_line(canvas: Canvas, time: Scale, scale: Scale, line: Line, number: int) -> list[str]:
    def place(point: tuple[float, float]) -> Point:
        return time.place(point[0]), scale.place(point[1])

    points = [place(point) for point in downsample(line.points, _MOST_POINTS)]
    css = f"c{number % 4}"
    if number == 0:
        canvas.add_path("f", trace_area(points, scale.start))
    canvas.add_path(f"l {css}", trace(points))
    peak_at, peak = line.peak
    canvas.add_path(f"o {css}", trace_dots([place(line.peak)]))
    text = f"peak {format_value(peak, BYTES)}"
    x, y = place(line.peak)
    canvas.add_text((min(max(x, LEFT + 40), RIGHT - 40), y - 5), text, "m k")
    canvas.add_text((RIGHT + 5, points[-1][1] + 4), shorten(line.name, WIDTH - RIGHT - 5))
    told = [
        f"{isolate(line.name)}: from {format_value(line.points[0][1], BYTES)} to a peak of {format_value(peak, BYTES)} "
        f"at {format_value(peak_at, SECONDS)}."
    ]
    for level, verdict in line.limits:
        _draw_limit(canvas, scale, level, verdict)
        told.append(f"{verdict.name} {verdict.measured_text}, limit {verdict.limit_text}: {verdict.status.value}.")
    return told


def _draw_limit(canvas: Canvas, scale: Scale, level: float, verdict: Verdict) -> None:
    css = "e x"
    if scale.holds(level):
        y = scale.place(level)
        canvas.add_path("L", trace_across([(LEFT, RIGHT, y)]))
        canvas.add_text((RIGHT, y - 4 if y > _TOP + 8 else y + 12), f"{verdict.name} ≤ {verdict.limit_text}", css)
    else:
        canvas.add_text((RIGHT, _TOP - 5), f"↑ {verdict.name} ≤ {verdict.limit_text}", css)
