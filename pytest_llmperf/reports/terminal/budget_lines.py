"""Budgets as lines of a terminal: in columns where these fit whole, else each as a sentence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.units import format_change
from pytest_llmperf.reports.text import GAP, NO_VALUE, measure_width, pad, shorten_left, wrap
from pytest_llmperf.reports.verdicts import COST, format_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.reports.terminal.groups import Row

    Spell = Callable[[str], str]
    Paint = Callable[[str, Status], str]

INDENT = "  "
_HEADER = ("budget", "measured", "limit", "margin", "verdict")
_ALIGNS = "<>>><"
_VERDICT = _HEADER.index("verdict")
_WORST = "worst case"
_SHORTEST_CASE = 16
_STATUSES = re.compile("|".join(sorted((status.value for status in Status), key=len, reverse=True)))


def leave_plain(text: str, _: Status) -> str:
    """``text`` as it is."""
    return text


def paint_statuses(text: str, paint: Paint) -> str:
    """``text``, which names statuses and no tests, with each status painted, and the number before it."""
    return re.sub(rf"(?:\d+ )?({_STATUSES.pattern})", lambda found: paint(found[0], Status(found[1])), text)


def align_budgets(
    names: Sequence[str],
    rows: Sequence[Row],
    width: int,
    spell: Spell,
    paint: Paint = leave_plain,
    *,
    costs: bool = False,
) -> list[str] | None:
    """A header and a line for each row, in columns of at most ``width`` cells; None if they do not fit.

    Where it takes that to fit, intervals are left out, unless there are names, and the parameters of worst cases
    shortened.

    Args:
        names: what stands before each row, and before the header, as the first column; empty for no such column.
        rows: the budgets.
        width: in cells.
        spell: makes one line of a text, in the characters that the terminal knows.
        paint: gives a text the colour of a status.
        costs: whether the engine's time that each verdict took is shown.
    """
    for intervals in (True,) if names else (True, False):
        cells, aligns, verdict = _list_columns(names, rows, spell, intervals=intervals, costs=costs)
        widths = [max(map(measure_width, column)) for column in zip(*cells, strict=True)]
        excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
        if excess > 0 and _WORST in cells[0]:
            narrower = max(min(widths[-1], _SHORTEST_CASE), widths[-1] - excess)
            excess -= widths[-1] - narrower
            widths[-1] = narrower
        if excess <= 0:
            break
    else:
        return None
    header, *lines = (
        [
            pad(shorten_left(cell, size, spell("…")), size, align)
            for cell, size, align in zip(row, widths, aligns, strict=True)
        ]
        for row in cells
    )
    for line in lines:
        line[verdict] = paint_statuses(line[verdict], paint)
    return [GAP.join(line).rstrip() for line in (header, *lines)]


def _list_columns(
    names: Sequence[str], rows: Sequence[Row], spell: Spell, *, intervals: bool, costs: bool
) -> tuple[list[tuple[str, ...]], str, int]:
    """The header and the cells of each row, the alignment of the columns, and which of them holds the verdict."""
    columns = [[heading, *cells] for heading, cells in zip(_HEADER, _list_cells(rows, intervals), strict=True)]
    aligns, verdict = _ALIGNS, _VERDICT
    if costs:
        columns.append([COST, *(row.verdict.cost_text for row in rows)])
        aligns += ">"
    if any(row.worst_case for row in rows):
        columns.append([_WORST, *(row.worst_case for row in rows)])
        aligns += "<"
    if names:
        columns.insert(0, list(names))
        aligns, verdict = f"<{aligns}", verdict + 1
    return [tuple(map(spell, cells)) for cells in zip(*columns, strict=True)], aligns, verdict


def _list_cells(rows: Sequence[Row], intervals: bool) -> list[list[str]]:
    """The cells of each column."""
    verdicts = [row.verdict for row in rows]
    return [
        [verdict.title or NO_VALUE for verdict in verdicts],
        [_format_measured(verdict, intervals) for verdict in verdicts],
        [format_limit(verdict) for verdict in verdicts],
        [verdict.margin_text for verdict in verdicts],
        [row.outcome for row in rows],
    ]


def _format_measured(verdict: Verdict, intervals: bool) -> str:
    """The measured value, or the change against a baseline."""
    if intervals:
        return verdict.measured_with_interval
    return verdict.measured_text if verdict.change is None else format_change(verdict.change)


def describe_budget(row: Row, width: int, spell: Spell, paint: Paint = leave_plain) -> list[str]:
    """``9 FAIL, 31 PASS: latency.ttft_max 251 ms > 120 ms (margin -109 %), the worst [24-cs]``, wrapped."""
    verdict = row.verdict
    if verdict.status is Status.FAIL:
        text = verdict.sentence()
    else:
        measured = "" if verdict.measured is None else f" {verdict.measured_with_interval}"
        margin = "" if verdict.margin_text == NO_VALUE else f" (margin {verdict.margin_text})"
        text = f"{verdict.title or NO_VALUE}{measured} {format_limit(verdict)}{margin}"
    worst = f", the worst {row.worst_case}" if row.worst_case else ""
    first, *rest = wrap(spell(f"{row.outcome}: {text}{worst}"), width - len(INDENT))
    outcome = spell(row.outcome)
    if first.startswith(outcome):
        first = paint_statuses(outcome, paint) + first.removeprefix(outcome)
    return [first, *(INDENT + line for line in rest)]
