"""The KV cache in use over a test, on its time axis, with the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import BYTES, format_value
from pytest_llmperf.reports.plots.scale import fit_scale, list_ticks
from pytest_llmperf.reports.plots.svg import Canvas, trace, trace_across, trace_area
from pytest_llmperf.reports.plots.time_axis import LEFT, RIGHT, WIDTH, draw_time_grid, make_time_scale
from pytest_llmperf.reports.wire.timeline import downsample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.budgets.verdict import Verdict

_TOP, _FLOOR = 14.0, 64.0
_MOST_POINTS = 128
_FAR = 2.5


def draw_kv_cache(measurement: Mapping[str, Any], verdicts: Sequence[Verdict]) -> str:
    """The bytes of KV cache in use over a test; empty if they were not read over time.

    Args:
        measurement: in its wire form.
        verdicts: all of the test; the one on ``memory.kv_cache`` is drawn.
    """
    points = [(float(at), float(used)) for at, used in (measurement.get("series") or {}).get("kv") or ()]
    if not points:
        return ""
    limits = [verdict for verdict in verdicts if verdict.name == "memory.kv_cache" and verdict.limit is not None]
    peak = max(used for _, used in points)
    near = [verdict.limit for verdict in limits if verdict.limit is not None and verdict.limit <= _FAR * peak]
    scale = fit_scale([0.0, peak, *near], _FLOOR, _TOP, with_zero=True)
    time = make_time_scale(measurement)
    canvas = Canvas(WIDTH, _FLOOR + 18)
    draw_time_grid(canvas, time, _TOP, _FLOOR, labelled=True)
    for tick in list_ticks(scale, BYTES, 3):
        y = scale.place(tick.value)
        canvas.add_path("g", trace_across([(LEFT, RIGHT, y)]))
        canvas.add_text((LEFT - 5, y + 4), tick.label, "e")
    placed = [(time.place(at), scale.place(used)) for at, used in downsample(points, _MOST_POINTS)]
    canvas.add_path("f", trace_area(placed, _FLOOR))
    canvas.add_path("l", trace(placed))
    canvas.add_text((RIGHT + 5, placed[-1][1] + 4), "KV in use")
    told = [f"KV cache in use up to {format_value(peak, BYTES)}."]
    for verdict in limits:
        if verdict.limit is not None and scale.holds(verdict.limit):
            canvas.add_path("L", trace_across([(LEFT, RIGHT, scale.place(verdict.limit))]))
        canvas.add_text((RIGHT, _TOP - 4), f"{verdict.name} ≤ {verdict.limit_text}", "e x")
        told.append(f"{verdict.name} {verdict.measured_text}, limit {verdict.limit_text}: {verdict.status.value}.")
    return canvas.render("KV cache over time", " ".join(told))
