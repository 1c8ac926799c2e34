"""The axis of a level over time, such as of memory, and the limits on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.units import BYTES, as_written
from pytest_llmperf.reports.plots.scale import Scale, fit_scale, list_ticks
from pytest_llmperf.reports.plots.svg import measure_text, trace_across
from pytest_llmperf.reports.plots.time_axis import LEFT, RIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.measurement.units import Quantity
    from pytest_llmperf.reports.plots.svg import Canvas

_FAR = 2.5
"""A limit that is so many times as high as the levels is named at the upper edge, and squashes nothing."""
_ROOM_ABOVE = 0.14
"""Above the highest level, by the height of all: room for its name."""
_NARROWEST = 0.1
"""An axis covers at least this share of its largest value: what changes by less is drawn as the flat line it is."""


def fit_levels(levels: Sequence[float], limits: Sequence[float], floor: float, top: float) -> Scale:
    """An axis with all levels and the limits near them, from zero if they lie near that as well."""
    high = max(levels)
    shown = [*levels, *(limit for limit in limits if limit <= _FAR * high)]
    low, high = min(shown), max(shown)
    low = 0.0 if low <= high / 2 else min(low, high * (1 - _NARROWEST))
    return fit_scale([low, high + _ROOM_ABOVE * (high - low)], floor, top)


def choose_unit(verdicts: Sequence[Verdict]) -> Quantity:
    """Bytes in the units of the first limit: in GB if it is written so."""
    return as_written(BYTES, verdicts[0].limit_text) if verdicts else BYTES


def draw_level_axis(canvas: Canvas, scale: Scale, quantity: Quantity, most: int = 4) -> None:
    """Level lines at round values, with their labels on the left."""
    ticks = list_ticks(scale, quantity, most)
    canvas.add_path("g", trace_across((LEFT, RIGHT, scale.place(tick.value)) for tick in ticks))
    for tick in ticks:
        canvas.add_text(tick.label, "e", (LEFT - 5, scale.place(tick.value) + 4))


def draw_limits(canvas: Canvas, scale: Scale, limits: Sequence[tuple[float, Verdict]]) -> None:
    """A dashed line with its name for each limit, at its level; one arrow for those that lie above the axis."""
    above = [verdict for level, verdict in limits if not scale.holds(level)]
    if above:
        text = f"↑ {', '.join(map(_name, above))}"
        css = "x" if any(map(_is_broken, above)) else "t"
        canvas.add_text(text, css, *((x, scale.end - 5) for x in _list_starts(text)))
    for level, verdict in limits:
        if scale.holds(level):
            y = scale.place(level)
            canvas.add_path("L", trace_across([(LEFT, RIGHT, y)]))
            places = [(x, y + drop) for x in _list_starts(_name(verdict)) for drop in (-4, 12)]
            canvas.add_text(_name(verdict), "x" if _is_broken(verdict) else "t", *places)


def _list_starts(text: str) -> list[float]:
    """Where a label may begin if others stand in its way: at the left, at the right, and between."""
    room = RIGHT - LEFT - 8 - measure_text(text)
    return [LEFT + 4 + room * share for share in (0.0, 1.0, 0.5, 0.25, 0.75)]


def _name(verdict: Verdict) -> str:
    return f"{verdict.name} ≤ {verdict.limit_text}"


def _is_broken(verdict: Verdict) -> bool:
    return verdict.status is Status.FAIL


def tell_limit(verdict: Verdict) -> str:
    """``memory.peak 15.1 GiB, limit 16 GiB: PASS.``"""
    return f"{verdict.title} {verdict.measured_text}, limit {verdict.limit_text}: {verdict.status.value}."
