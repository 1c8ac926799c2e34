"""The time axis that the drawings of one test share, so that they line up below one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import SECONDS
from pytest_llmperf.reports.plots.scale import Scale, list_ticks
from pytest_llmperf.reports.plots.svg import trace_upright

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.reports.plots.svg import Canvas

WIDTH = 720
LEFT, RIGHT = 58, 596
"""Where the time begins and ends on a canvas; labels of the levels stand left of it, names of lines right of it."""
_TICKS = 6
_LABEL_DROP = 12


def make_time_scale(measurement: Mapping[str, Any]) -> Scale:
    """From the start of a test to its end, in seconds, with all of its requests."""
    series = measurement.get("series") or {}
    start = float(series.get("start_s") or 0.0)
    end = float(series.get("end_s") or measurement["window"]["seconds"] or 0.0)
    last = max((lane[2] for lane in measurement.get("lanes") or () if lane[2] is not None), default=end)
    end = max(end, last)
    return Scale(start, end if end > start else start + 1.0, LEFT, RIGHT)


def draw_time_grid(canvas: Canvas, scale: Scale, top: float, bottom: float, *, labelled: bool) -> None:
    """Upright lines at round times, with their labels below them where ``labelled``."""
    ticks = list_ticks(scale, SECONDS, _TICKS)
    canvas.add_path("g", trace_upright((scale.place(tick.value), top, bottom) for tick in ticks))
    if labelled:
        canvas.add_row(bottom + _LABEL_DROP, [(scale.place(tick.value), tick.label) for tick in ticks])
