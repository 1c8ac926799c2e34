"""A metric over stored runs: its values, where their level changed, and the level at the anchor."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import find_quantity, format_change, format_value
from pytest_llmperf.reports.plots.scale import Scale, fit_scale, list_ticks
from pytest_llmperf.reports.plots.svg import Canvas, shorten, trace_across, trace_dots, trace_upright
from pytest_llmperf.reports.wire.timeline import downsample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.measurement.units import Quantity

WIDTH = 720
_LEFT, _RIGHT = 58, 640
_TOP, _FLOOR = 30, 120
_MOST_POINTS = 150
_MOST_NAMED = 8
"""So many changes are named beside their lines; the others are told in the description."""
_NARROWEST = 0.02


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
    scale = _fit([value for _, value in values], history["anchor"])
    runs = Scale(0.0, max(1.0, values[-1][0]), _LEFT + 6, _RIGHT - 6)
    canvas = Canvas(WIDTH, _FLOOR + 18)
    canvas.add_text(history["metric"], "h", (_LEFT, 10))
    _draw_axes(canvas, scale, history, quantity)
    shown = values if len(values) <= _MOST_POINTS else downsample(values, _MOST_POINTS)
    canvas.add_path("o d", trace_dots((round(runs.place(at)), scale.place(value)) for at, value in shown), 3)
    last = values[-1][1]
    beside = scale.place(last) + 4
    canvas.add_text(format_value(last, quantity), "k", *((_RIGHT + 5, beside + shift) for shift in (0, -12, 12)))
    told = [f"{len(points)} run{'' if len(points) == 1 else 's'}, the last one {format_value(last, quantity)}."]
    if history["missing"]:
        told.append(f"{history['missing']} without a value.")
    if history["anchor"] is not None:
        told.append(f"Level at the anchor {format_value(history['anchor'], quantity)}.")
    told += _draw_changes(canvas, runs, scale, history)
    return canvas.render(f"Trend of {history['metric']}", " ".join(told))


def _fit(values: Sequence[float], anchor: float | None) -> Scale:
    shown = [*values, *([] if anchor is None else [anchor])]
    middle = (min(shown) + max(shown)) / 2
    return fit_scale([*shown, middle * (1 - _NARROWEST), middle * (1 + _NARROWEST)], _FLOOR, _TOP)


def _draw_axes(canvas: Canvas, scale: Scale, history: Mapping[str, Any], quantity: Quantity) -> None:
    """Level lines, that of the anchor, and the days of the first and the last run."""
    ticks = list_ticks(scale, quantity, 5)
    canvas.add_path("g", trace_across((_LEFT, _RIGHT, scale.place(tick.value)) for tick in ticks))
    for tick in ticks:
        canvas.add_text(tick.label, "e", (_LEFT - 5, scale.place(tick.value) + 4))
    if history["anchor"] is not None:
        y = scale.place(history["anchor"])
        canvas.add_path("n", trace_across([(_LEFT, _RIGHT, y)]))
        canvas.add_text("anchor", "", *((_RIGHT + 5, y + shift) for shift in (4, 16, -8)))
    days = [str(point["created"])[:10] for point in (history["points"][0], history["points"][-1])]
    canvas.add_text(days[0], "", (_LEFT, _FLOOR + 14))
    if days[1] != days[0]:
        canvas.add_text(days[1], "e", (_RIGHT, _FLOOR + 14))


def _draw_changes(canvas: Canvas, runs: Scale, scale: Scale, history: Mapping[str, Any]) -> list[str]:
    """The levels between the changes, and a line at each change with its size and the commit it came with."""
    changes: Sequence[Mapping[str, Any]] = history["changes"]
    count = len(history["points"])
    if not changes:
        return ["Its level did not change."] if count > 1 else []
    canvas.add_path("l", trace_across(_list_levels(runs, scale, changes, count)))
    named = sorted(changes, key=_find_size, reverse=True)[:_MOST_NAMED]
    told = []
    for change in changes:
        x = runs.place(change["index"] - 0.5)
        worse = (change["after"] > change["before"]) == (history["better"] == "lower")
        text = format_change(change["after"] / change["before"] - 1) if change["before"] else "from 0"
        canvas.add_path("X" if worse else "a", trace_upright([(x, _TOP - 4, _FLOOR)]))
        point = history["points"][change["index"]]
        commit = shorten(str(point["commit"])[:8], 60)
        if change in named:
            name, css = (f"{text} worse", "m x") if worse else (text, "m k")
            canvas.add_text_if_free(name, css, (x, _TOP - 8))
            canvas.add_text_if_free(commit, "m", (x, _FLOOR + 14))
        direction = "for the worse" if worse else "for the better"
        told.append(f"{text} {direction} from {str(point['created'])[:10]} on{f', {commit}' if commit else ''}.")
    return told


def _find_size(change: Mapping[str, Any]) -> float:
    return abs(change["after"] / change["before"] - 1) if change["before"] else float("inf")


def _list_levels(
    runs: Scale, scale: Scale, changes: Sequence[Mapping[str, Any]], count: int
) -> Iterator[tuple[float, float, float]]:
    """Each level from its first run to its last one, as a line across."""
    edges = [0, *(change["index"] for change in changes), count]
    levels = [changes[0]["before"], *(change["after"] for change in changes)]
    for (start, end), level in zip(pairwise(edges), levels, strict=True):
        yield runs.place(start), runs.place(end - 1), scale.place(level)
