"""The KV cache in use over a test, on its time axis, with the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import format_value
from pytest_llmperf.reports.plots.levels import choose_unit, draw_level_axis, draw_limits, fit_levels, tell_limit
from pytest_llmperf.reports.plots.svg import Canvas, trace_steps
from pytest_llmperf.reports.plots.time_axis import RIGHT, WIDTH, draw_time_grid, make_time_scale
from pytest_llmperf.reports.wire.timeline import downsample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.budgets.verdict import Verdict

_TOP, _FLOOR = 16.0, 60.0
_MOST_POINTS = 64
_METRIC = "memory.kv_cache"


def draw_kv_cache(measurement: Mapping[str, Any], verdicts: Sequence[Verdict]) -> str:
    """The bytes of KV cache in use over a test; empty if they were not read over time.

    It stands below the memory, whose labels of time are its own.

    Args:
        measurement: in its wire form, with ``series``.
        verdicts: all of the test; those on ``memory.kv_cache`` are drawn.
    """
    series = measurement.get("series") or {}
    points = [(float(at), float(used)) for at, used in series.get("kv") or ()]
    if not points:
        return ""
    limits = [(v.limit, v) for v in verdicts if v.name == _METRIC and v.limit is not None]
    quantity = choose_unit([verdict for _, verdict in limits])
    peak = format_value(max(used for _, used in points), quantity)
    time = make_time_scale(measurement)
    scale = fit_levels([0.0, *(used for _, used in points)], [limit for limit, _ in limits], _FLOOR, _TOP)
    canvas = Canvas(WIDTH, _FLOOR + 6)
    draw_time_grid(canvas, time, _TOP, _FLOOR, labelled=False)
    draw_level_axis(canvas, scale, quantity, 3)
    shown = [*downsample(points, _MOST_POINTS), (time.high, points[-1][1])]
    canvas.add_path("l", trace_steps([(time.place(at), scale.place(used)) for at, used in shown]))
    canvas.add_text("KV in use", "", (RIGHT + 5, _FLOOR - 14))
    canvas.add_text(f"peak {peak}", "k", (RIGHT + 5, _FLOOR - 1))
    draw_limits(canvas, scale, limits)
    told = [f"KV cache in use up to {peak}.", *(tell_limit(verdict) for _, verdict in limits)]
    return canvas.render("KV cache over time", " ".join(told))
