"""A metric over stored runs: its values, where their level changed, and the level at the anchor."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import find_quantity, format_change, format_value
from pytest_llmperf.reports.plots.scale import Scale, fit_scale, list_ticks
from pytest_llmperf.reports.plots.svg import Canvas, trace_across, trace_dots, trace_upright
from pytest_llmperf.reports.wire.timeline import downsample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH = 720
_LEFT, _RIGHT = 58.0, 650.0
_TOP, _FLOOR = 26.0, 116.0
_MOST_POINTS = 200


def draw_trend(history: Mapping[str, Any]) -> str:
    """The values of a metric in one test over stored runs; empty without a value.

    Args:
        history: of ``baselines/history.py``, as plain data.
    """
    points: Sequence[Mapping[str, Any]] = history["points"]
    if not points:
        return ""
    quantity = find_quantity(history["unit"])
    values = [(float(place), float(point["value"])) for place, point in enumerate(points)]
    anchor = history["anchor"]
    scale = fit_scale([*(value for _, value in values), *([] if anchor is None else [anchor])], _FLOOR, _TOP)
    runs = Scale(0.0, max(1.0, values[-1][0]), _LEFT + 6, _RIGHT - 6)
    canvas = Canvas(WIDTH, _FLOOR + 20)
    for tick in list_ticks(scale, quantity, 4):
        y = scale.place(tick.value)
        canvas.add_path("g", trace_across([(_LEFT, _RIGHT, y)]))
        canvas.add_text((_LEFT - 5, y + 4), tick.label, "e")
    canvas.add_text((_LEFT, 11), history["metric"], "h")
    told = [f"{history['metric']} in {len(points)} runs, the last {format_value(values[-1][1], quantity)}."]
    if anchor is not None:
        canvas.add_path("a", trace_across([(_LEFT, _RIGHT, scale.place(anchor))]))
        canvas.add_text((_RIGHT + 5, scale.place(anchor) + 4), "anchor")
        told.append(f"Anchor {format_value(anchor, quantity)}.")
    shown = downsample(values, _MOST_POINTS)
    canvas.add_path("o d", trace_dots((runs.place(at), scale.place(value)) for at, value in shown), 3)
    told += _draw_levels(canvas, runs, scale, history, len(points))
    canvas.add_text((_LEFT, _FLOOR + 15), str(points[0]["created"])[:10])
    if len(points) > 1:
        canvas.add_text((_RIGHT, _FLOOR + 15), str(points[-1]["created"])[:10], "e")
    return canvas.render(f"Trend of {history['metric']}", " ".join(told))


def _draw_levels(canvas: Canvas, runs: Scale, scale: Scale, history: Mapping[str, Any], count: int) -> list[str]:
    """Draws the levels between the changes, and the changes with how large they are."""
    changes: Sequence[Mapping[str, Any]] = history["changes"]
    if not changes:
        return ["Its level did not change."] if count > 1 else []
    edges = [0, *(change["index"] for change in changes), count]
    levels = [changes[0]["before"], *(change["after"] for change in changes)]
    canvas.add_path(
        "l",
        trace_across(
            (runs.place(start), runs.place(end - 1), scale.place(level))
            for (start, end), level in zip(pairwise(edges), levels, strict=True)
        ),
    )
    told = []
    for change in changes:
        x = runs.place(change["index"] - 0.5)
        share = change["after"] / change["before"] - 1 if change["before"] else None
        worse = (change["after"] > change["before"]) == (history["better"] == "lower")
        text = "changed" if share is None else format_change(share)
        canvas.add_path("X" if worse else "a", trace_upright([(x, _TOP - 4, _FLOOR)]))
        canvas.add_text((x, _TOP - 7), text, "m x" if worse else "m k")
        told.append(
            f"{text} in run {change['index'] + 1} of {count}, {'for the worse' if worse else 'for the better'}."
        )
    return told
