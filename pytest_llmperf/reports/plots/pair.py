"""A test on two engines: the change of each metric with its interval, the single pairs, and what is tolerated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import SHARE, format_change
from pytest_llmperf.reports.plots.scale import Scale, fit_scale, list_ticks
from pytest_llmperf.reports.plots.svg import Canvas, isolate, shorten, trace_across, trace_dots, trace_upright

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.budgets.verdict import Verdict

WIDTH = 720
_LEFT, _RIGHT = 190.0, 540.0
_ROW = 26.0
_TOP = 22.0


def draw_pair(pairs: Mapping[str, Any], verdicts: Sequence[Verdict]) -> str:
    """The changes from one engine to the other, a row for each limit; empty without a pair that has a ratio.

    Args:
        pairs: of a test, as plain data.
        verdicts: all of the test; those against the other engine are drawn.
    """
    values: Mapping[str, Any] = pairs.get("values") or {}
    rows = [(verdict, ratios) for verdict in verdicts if (ratios := _list_changes(values.get(verdict.name) or ()))]
    if not rows:
        return ""
    scale = _fit(rows)
    floor = _TOP + _ROW * len(rows)
    canvas = Canvas(WIDTH, floor + 20)
    new, old = str(pairs["new"]), str(pairs["old"])
    canvas.add_text((_LEFT, 12), f"{isolate(shorten(new, 160))} against {isolate(shorten(old, 160))}", "h")
    for tick in list_ticks(scale, SHARE, 6):
        x = scale.place(tick.value)
        canvas.add_path("a" if tick.value == 0 else "g", trace_upright([(x, _TOP, floor)]))
        canvas.add_text((x, floor + 13), tick.label, "m")
    told = [
        _draw_row(canvas, scale, verdict, changes, _TOP + _ROW * (place + 0.5))
        for place, (verdict, changes) in enumerate(rows)
    ]
    return canvas.render(f"{isolate(new)} against {isolate(old)}", " ".join(told))


def _list_changes(pairs: Sequence[Mapping[str, Any]]) -> list[float]:
    """``new / old - 1`` of each pair that has both."""
    return [pair["new"] / pair["old"] - 1 for pair in pairs if pair["new"] is not None and pair["old"]]


def _fit(rows: Sequence[tuple[Verdict, Sequence[float]]]) -> Scale:
    shares = [0.0]
    for verdict, changes in rows:
        shares += [*changes, *(share for share in _list_bounds(verdict) if share is not None)]
    return fit_scale(shares, _LEFT, _RIGHT)


def _list_bounds(verdict: Verdict) -> list[float | None]:
    """The least change, the change, the largest one, and the tolerated one."""
    if not verdict.baseline:
        return [None] * 4
    interval = verdict.interval
    found = (interval.low if interval else None, verdict.measured, interval.high if interval else None, verdict.limit)
    return [None if value is None else value / verdict.baseline - 1 for value in found]


def _draw_row(canvas: Canvas, scale: Scale, verdict: Verdict, changes: Sequence[float], y: float) -> str:
    low, change, high, tolerated = _list_bounds(verdict)
    canvas.add_text((_LEFT - 8, y + 4), shorten(verdict.name, _LEFT - 8), "e k")
    canvas.add_path("o d", trace_dots((scale.place(share), y + 7) for share in changes), 2.5)
    if low is not None and high is not None:
        canvas.add_path("i", trace_across([(scale.place(low), scale.place(high), y - 2)]))
    if change is not None:
        canvas.add_path("o", trace_dots([(scale.place(change), y - 2)]))
    if tolerated is not None:
        canvas.add_path("L", trace_upright([(scale.place(tolerated), y - 10, y + 10)]))
    figures = "" if change is None else f"{format_change(change)} "
    css = "x" if verdict.status.value == "FAIL" else "k"
    canvas.add_text((_RIGHT + 8, y + 4), f"{figures}limit {verdict.limit_text}", css)
    return f"{verdict.name} {figures}with a limit of {verdict.limit_text}: {verdict.status.value}."
