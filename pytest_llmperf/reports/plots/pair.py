"""A test on two engines: the change of each metric with its interval, the single pairs, and what is tolerated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.units import SHARE, format_change
from pytest_llmperf.reports.plots.scale import fit_scale, list_ticks
from pytest_llmperf.reports.plots.svg import Canvas, isolate, shorten, trace_across, trace_dots, trace_upright

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.reports.plots.scale import Scale

WIDTH = 720
_LEFT, _RIGHT = 150, 464
_TOP, _ROW = 18, 26


class _Row(NamedTuple):
    """A limit: its verdict, the changes of the single pairs, and that of all with its bounds; shares of the old one."""

    verdict: Verdict
    singles: Sequence[float]
    low: float | None
    change: float | None
    high: float | None
    tolerated: float | None

    def list_shares(self) -> list[float]:
        """All that lie on the axis."""
        marks = (self.low, self.change, self.high, self.tolerated)
        return [*self.singles, *(share for share in marks if share is not None)]


def draw_pair(pairs: Mapping[str, Any], verdicts: Sequence[Verdict]) -> str:
    """The changes from one engine to the other, a row for each limit; empty without a pair that has a ratio.

    Args:
        pairs: of a test, as plain data.
        verdicts: all of the test; those against the other engine are drawn.
    """
    rows = list(_list_rows(pairs.get("values") or {}, verdicts))
    if not rows:
        return ""
    scale = fit_scale([0.0, *(share for row in rows for share in row.list_shares())], _LEFT, _RIGHT)
    floor = _TOP + _ROW * len(rows)
    canvas = Canvas(WIDTH, floor + 17)
    title = f"{isolate(shorten(str(pairs['new']), 300))} against {isolate(shorten(str(pairs['old']), 300))}"
    canvas.add_text(title, "h", (4, 11))
    ticks = list_ticks(scale, SHARE, 6)
    canvas.add_path("g", trace_upright((scale.place(tick.value), _TOP, floor) for tick in ticks if tick.value))
    canvas.add_path("a", trace_upright([(scale.place(0.0), _TOP, floor)]))
    canvas.add_row(floor + 13, [(scale.place(tick.value), _sign(tick.value, tick.label)) for tick in ticks])
    told = [_draw_row(canvas, scale, row, _TOP + _ROW * (place + 0.5)) for place, row in enumerate(rows)]
    return canvas.render(title, " ".join(told))


def _sign(value: float, label: str) -> str:
    return f"+{label}" if value > 0 else label.replace("-", "−")


def _list_rows(values: Mapping[str, Any], verdicts: Sequence[Verdict]) -> Iterator[_Row]:
    for verdict in verdicts:
        found = values.get(verdict.name) or ()
        singles = [pair["new"] / pair["old"] - 1 for pair in found if pair["new"] is not None and pair["old"]]
        if singles:
            interval, old = verdict.interval, verdict.baseline
            bounds = interval.low if interval else None, interval.high if interval else None
            marks = (bounds[0], verdict.measured, bounds[1], verdict.limit)
            yield _Row(verdict, singles, *(None if mark is None or not old else mark / old - 1 for mark in marks))


def _draw_row(canvas: Canvas, scale: Scale, row: _Row, y: float) -> str:
    """The tolerated change with what lies beyond it, the interval with the change on it, the single pairs below."""
    verdict = row.verdict
    canvas.add_text(shorten(verdict.name, _LEFT - 12), "e k", (_LEFT - 8, y + 4))
    if row.tolerated is not None:
        edge = scale.place(row.tolerated)
        beyond = (edge, scale.end) if verdict.better == "lower" else (scale.start, edge)
        canvas.add_path("b", trace_across([(*beyond, y)]), _ROW - 4)
        canvas.add_path("L", trace_upright([(edge, y - 11, y + 11)]))
    if row.low is not None and row.high is not None:
        canvas.add_path("i", trace_across([(scale.place(row.low), scale.place(row.high), y - 3)]))
    canvas.add_path("o d", trace_dots((round(scale.place(share)), y + 6) for share in row.singles), 3)
    if row.change is not None:
        canvas.add_path("o", trace_dots([(round(scale.place(row.change)), y - 3)]))
    text, told = _describe(row)
    css = "x" if verdict.status is Status.FAIL else "k"
    canvas.add_text(shorten(text, WIDTH - _RIGHT - 8), css, (_RIGHT + 8, y + 4))
    return told


def _describe(row: _Row) -> tuple[str, str]:
    """The change with its interval beside the row, and a sentence that names the limit and the verdict as well."""
    verdict = row.verdict
    if row.change is None:
        text = verdict.status.value
    else:
        text = format_change(row.change)
        if row.low is not None and row.high is not None:
            text += f" ({format_change(row.low).removesuffix(' %')} to {format_change(row.high).removesuffix(' %')})"
        if verdict.status is not Status.PASS:
            text += f" {verdict.status.value}"
    pairs = f"{len(row.singles)} pair{'' if len(row.singles) == 1 else 's'}"
    return text, f"{verdict.name} {text} in {pairs}, limit {verdict.limit_text}: {verdict.status.value}."
