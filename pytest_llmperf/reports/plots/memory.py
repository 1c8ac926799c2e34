"""The memory of a test over time with its limits, and the requests as lanes below it on the same time axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_llmperf.measurement.units import SECONDS, format_value
from pytest_llmperf.reports.plots.lanes import draw_lanes, list_lanes, measure_lanes
from pytest_llmperf.reports.plots.levels import choose_unit, draw_level_axis, draw_limits, fit_levels, tell_limit
from pytest_llmperf.reports.plots.svg import Canvas, isolate, measure_text, shorten, trace, trace_area, trace_dots
from pytest_llmperf.reports.plots.time_axis import LEFT, RIGHT, WIDTH, draw_time_grid, make_time_scale
from pytest_llmperf.reports.wire.timeline import downsample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.measurement.units import Quantity
    from pytest_llmperf.reports.plots.scale import Scale

_TOP, _FLOOR = 16.0, 106.0
_GAP = 7.0
_MOST_POINTS = 64
_ROOM_BELOW = 16
_HOST = "host"


class Line(NamedTuple):
    """One level over time.

    Attributes:
        name: of the device, or ``host``.
        points: pairs of seconds from the start of the test and bytes, in order.
        limits: the level at which each limit on it lies, in bytes, with the verdict.
    """

    name: str
    points: Sequence[tuple[float, float]]
    limits: Sequence[tuple[float, Verdict]]

    @property
    def peak(self) -> tuple[float, float]:
        """The first of the highest points."""
        return max(self.points, key=lambda point: point[1])


def draw_memory(measurement: Mapping[str, Any], verdicts: Sequence[Verdict]) -> str:
    """The memory of the engine over a test, with its limits, and the requests below; empty if neither is known.

    Args:
        measurement: in its wire form, with ``series`` and ``lanes``.
        verdicts: all of the test; those on its memory are drawn.
    """
    lines, lanes = list_lines(measurement, verdicts), list_lanes(measurement)
    if not lines and not lanes:
        return ""
    time = make_time_scale(measurement)
    top = _FLOOR + _GAP if lines else _GAP
    bottom = top + measure_lanes(lanes) if lanes else _FLOOR
    canvas = Canvas(WIDTH, bottom + _ROOM_BELOW)
    draw_time_grid(canvas, time, _TOP if lines else top, bottom, labelled=True)
    told = _draw_lines(canvas, time, lines, _call_highest(measurement, lines)) if lines else []
    if lanes:
        told.append(draw_lanes(canvas, time, measurement, lanes, top))
    subject = "Memory and requests" if lines and lanes else "Memory" if lines else "Requests"
    return canvas.render(f"{subject} over time", " ".join(told))


def list_lines(measurement: Mapping[str, Any], verdicts: Sequence[Verdict]) -> list[Line]:
    """What is known of the memory over time: a line for each device, or one for the host if there is no device.

    The host stands beside devices only where its memory is limited.
    """
    series = {name: points for name, points in _find_series(measurement).items() if points}
    on_devices = [name for name in series if name != _HOST]
    if on_devices and not any(verdict.name == "memory.host_peak" for verdict in verdicts):
        series.pop(_HOST, None)
    found = []
    for name, points in series.items():
        known = [(float(at), float(level)) for at, level in points]
        of_line = [verdict for verdict in verdicts if _limits(verdict, name, on_devices or [_HOST])]
        levels = [(level, verdict) for verdict in of_line if (level := _find_level(verdict, known)) is not None]
        found.append(Line(name, known, levels))
    return found


def _find_series(measurement: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (measurement.get("series") or {}).get("memory") or {}
    return found


def _limits(verdict: Verdict, name: str, measured: Sequence[str]) -> bool:
    """Whether a verdict is on this line alone; of several devices memory is limited together."""
    if verdict.name == "memory.host_peak":
        return name == _HOST
    return verdict.name in ("memory.peak", "memory.growth") and measured == [name]


def _find_level(verdict: Verdict, points: Sequence[tuple[float, float]]) -> float | None:
    """Where a limit lies on the axis of the level; that of the growth lies above the level at the start."""
    if verdict.limit is None:
        return None
    return points[0][1] + verdict.limit if verdict.name == "memory.growth" else verdict.limit


def _call_highest(measurement: Mapping[str, Any], lines: Sequence[Line]) -> str:
    """What the highest point is called: a peak only if it is the one that was measured, of all devices together."""
    is_peak = len(lines) == 1 and "memory.peak" in (measurement.get("readings") or {})
    return "peak" if is_peak else "highest level"


def _draw_lines(canvas: Canvas, time: Scale, lines: Sequence[Line], highest: str) -> list[str]:
    levels = [level for line in lines for _, level in line.points]
    scale = fit_levels(levels, [level for line in lines for level, _ in line.limits], _FLOOR, _TOP)
    quantity = choose_unit([verdict for line in lines for _, verdict in line.limits])
    draw_level_axis(canvas, scale, quantity)
    for number, line in enumerate(lines):
        _draw_line(canvas, time, scale, line, number)
    _name_peak(canvas, time, scale, max(lines, key=lambda line: line.peak[1]), highest, quantity)
    draw_limits(canvas, scale, [limit for line in lines for limit in line.limits])
    told = []
    for line in lines:
        told += [_tell_line(line, highest, quantity), *(tell_limit(verdict) for _, verdict in line.limits)]
    return told


def _tell_line(line: Line, highest: str, quantity: Quantity) -> str:
    (start, first), (at, peak) = line.points[0], line.peak
    if at == start:
        return f"{isolate(line.name)}: {format_value(peak, quantity)} at the start, its {highest}."
    return (
        f"{isolate(line.name)}: {format_value(first, quantity)} at the start, {highest} {format_value(peak, quantity)} "
        f"after {format_value(at, SECONDS)}."
    )


def _draw_line(canvas: Canvas, time: Scale, scale: Scale, line: Line, number: int) -> None:
    points = [(time.place(at), scale.place(level)) for at, level in downsample(line.points, _MOST_POINTS)]
    series = f" c{number % 4}" if number else ""
    if not number and scale.low == 0:
        canvas.add_path("f", trace_area(points, scale.start))
    canvas.add_path(f"l{series}", trace(points))
    at, peak = line.peak
    x, y = time.place(at), scale.place(peak)
    canvas.add_path(f"o{series}", trace_dots([(round(x), y)]))
    end = points[-1][1] + 4
    name = shorten(line.name, WIDTH - RIGHT - 8)
    canvas.add_text_if_free(name, "", *((RIGHT + 5, end + shift) for shift in (0, -12, 12, -24, 24, -36, 36)))


def _name_peak(canvas: Canvas, time: Scale, scale: Scale, line: Line, highest: str, quantity: Quantity) -> None:
    """The highest peak beside its place, inside of the axis of time."""
    at, peak = line.peak
    text = f"{highest} {format_value(peak, quantity)}"
    half = measure_text(text) / 2
    x, y = min(max(time.place(at), LEFT + half), RIGHT - half), scale.place(peak)
    canvas.add_text(text, "m k", (x, y - 6), (x, y + 14))
