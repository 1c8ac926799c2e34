"""The summary at the end of a run: every budget with the room it has left, and the counts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.measurement.units import SECONDS, format_value
from pytest_llmperf.reports.matrix.build import build_matrix
from pytest_llmperf.reports.matrix.tables import render_matrix
from pytest_llmperf.reports.measured.table import render_measured
from pytest_llmperf.reports.measured.values import list_measured
from pytest_llmperf.reports.notes import list_notes
from pytest_llmperf.reports.result import count_statuses, find_variant, shows_cost
from pytest_llmperf.reports.terminal.budget_lines import (
    INDENT,
    align_budgets,
    describe_budget,
    leave_plain,
    paint_statuses,
)
from pytest_llmperf.reports.terminal.groups import group_by_function, rank_row
from pytest_llmperf.reports.terminal.reasons import list_reasons
from pytest_llmperf.reports.text import to_ascii, to_one_line, wrap
from pytest_llmperf.reports.verdicts import SEVERITY, sort_worst_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.reports.matrix.matrix import Matrix
    from pytest_llmperf.reports.result import TestResult
    from pytest_llmperf.reports.terminal.budget_lines import Paint, Spell
    from pytest_llmperf.reports.terminal.groups import FunctionRows, Row

ROWS = 20
SESSION_NOISE_WATCHED = 0.1
"""A verdict whose interval ends closer to the limit than this share is named if noise between sessions is unknown."""


def format_counts(results: Sequence[TestResult]) -> str:
    """``7 PASS, 1 FAIL, 2 NOT MEASURED``; ``none`` without budgets."""
    return ", ".join(f"{count} {status}" for status, count in count_statuses(results).items() if count) or "none"


def render_summary(
    results: Sequence[TestResult],
    *,
    width: int,
    unicode: bool = True,
    engines: Sequence[str] = (),
    table: bool | None = None,
    paint: Paint = leave_plain,
    more: str = "--llmperf-report=out.html",
) -> list[str]:
    """The lines of the summary, without a title.

    The cases of a parametrised test are one row for each budget, with the worst of them. What did not pass comes first,
    then the tightest. Nothing is cut but the parameters of a worst case: where columns do not fit, sentences do.

    Args:
        results: of the tests, in the order in which they ended.
        width: of a line, in cells, escape sequences of ``paint`` not counted.
        unicode: False for plain ASCII.
        engines: the labels of the run's engines in order.
        table: whether what tests measured is shown: None for that of tests without budgets.
        paint: gives a text the colour of a status.
        more: where all that is left out is to be found.
    """
    spell: Spell = to_one_line if unicode else lambda text: to_ascii(to_one_line(text))
    matrix = None if any(result.pairs for result in results) else build_matrix(results, engines)
    blocks = [] if table is False else [_measured(results, matrix, width, spell, more, everything=bool(table))]
    blocks.append(_budgets(results, width, spell, paint, more))
    blocks.append([] if matrix is None else render_matrix(matrix, width, spell, more=more))
    return [line for at, block in enumerate(filter(None, blocks)) for line in ([""] if at else []) + block]


def _budgets(results: Sequence[TestResult], width: int, spell: Spell, paint: Paint, more: str) -> list[str]:
    groups = group_by_function(results)
    if not groups:
        return []
    shown, hidden = _select(groups)
    lines = _draw(shown, width, spell, paint, costs=shows_cost(results))
    texts = [_describe_hidden(hidden, more)] if hidden else []
    texts += describe_pairs(sort_worst_first([(result, verdict) for result in results for verdict in result.verdicts]))
    texts += [f"why: {reason}" for reason in list_reasons(results)]
    texts += [f"note: {note}" for note in list_notes(results)]
    texts += _describe_warmups(results)
    lines += [line for text in texts for line in wrap(spell(text), width)]
    return [*lines, *(paint_statuses(line, paint) for line in wrap(f"budgets: {format_counts(results)}", width))]


def _select(groups: Sequence[FunctionRows]) -> tuple[list[FunctionRows], list[Row]]:
    """The groups with their worst rows, ``ROWS`` of them at most in all, and the rows that are left out."""
    ranked = sorted((row for group in groups for row in group.rows), key=rank_row)
    shown = {id(row) for row in ranked[:ROWS]}
    kept = [replace(group, rows=tuple(row for row in group.rows if id(row) in shown)) for group in groups]
    return [group for group in kept if group.rows], ranked[ROWS:]


def _describe_hidden(rows: Sequence[Row], more: str) -> str:
    """``+12 more budgets (3 INVALID, 40 PASS); see out.html``."""
    counts = {status: sum(dict(row.counts).get(status, 0) for row in rows) for status in SEVERITY}
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"+{len(rows)} more budget{'' if len(rows) == 1 else 's'} ({told}); see {more}"


def _draw(groups: Sequence[FunctionRows], width: int, spell: Spell, paint: Paint, *, costs: bool) -> list[str]:
    """Each row behind the title of its group if all titles fit whole, else each title above its rows."""
    rows = [row for group in groups for row in group.rows]
    names = ["test", *(spell(group.title) for group in groups for _ in group.rows)]
    lines = align_budgets(names, rows, width, spell, paint, costs=costs)
    if lines is not None:
        return lines
    aligned = align_budgets((), rows, width - len(INDENT), spell, paint, costs=costs)
    header, bodies = ([INDENT + aligned[0]], iter(aligned[1:])) if aligned else ([], iter(()))
    found = header
    for group in groups:
        first, *rest = wrap(spell(group.title), width - 2 * len(INDENT))
        found += [first, *(2 * INDENT + line for line in rest)]
        for row in group.rows:
            body = [next(bodies)] if aligned else describe_budget(row, width - len(INDENT), spell, paint)
            found += [INDENT + line for line in body]
    return found


def describe_pairs(verdicts: Sequence[tuple[TestResult, Verdict]]) -> list[str]:
    """``A/B latency.tpot_p50: new 12.9 ms, old 12.4 ms, +4.1 % (+2.8 to +5.5), 6 pairs: PASS (limit +10 %)``.

    One line for each budget that was judged by pairs; the test is named where there are several.
    """
    paired = [(result.nodeid, v) for result, v in verdicts if result.pairs and v.measured is not None]
    is_one = len({nodeid for nodeid, _ in paired}) == 1
    return [
        f"A/B {'' if is_one else f'{nodeid} '}{v.name}: {v.how}: {v.status} (limit {v.limit_text})"
        for nodeid, v in paired
    ]


def _describe_warmups(results: Sequence[TestResult]) -> list[str]:
    """One line: how long each engine took to be warmed up; none if none was."""
    parts = [part for result in results for part in result.measurement.get("parts") or [result.measurement]]
    engines = [engine for part in parts if (engine := part.get("engine")) and engine["warmup_seconds"] is not None]
    found = dict.fromkeys(
        f"{find_variant(e) or e['name']} {format_value(e['warmup_seconds'], SECONDS)}" for e in engines
    )
    return [f"engine warm-up: {', '.join(found)}"] if found else []


def warn_of_session_noise(results: Sequence[TestResult]) -> list[str]:
    """A line if verdicts may be others in the next session, because it is not known how sessions differ."""
    close = sum(1 for result in results for verdict in result.verdicts if _is_close(verdict))
    if not close:
        return []
    counted = "1 verdict lies" if close == 1 else f"{close} verdicts lie"
    return [
        f"noise between sessions unknown: {counted} within {SESSION_NOISE_WATCHED:.0%} of the limit and may be another "
        "in the next session; --llmperf-session-noise=SHARE states it".replace("%", " %")
    ]


def _is_close(verdict: Verdict) -> bool:
    """Whether noise between sessions of the size that is watched could change a PASS or a FAIL."""
    if verdict.status not in (Status.PASS, Status.FAIL) or verdict.relative:
        return False
    if verdict.interval is None or not verdict.interval.units:
        return False
    bounds = [bound for bound in (verdict.interval.low, verdict.interval.high) if bound is not None and bound > 0]
    limit = verdict.limit or 0.0
    return limit > 0 and min((abs(math.log(bound / limit)) for bound in bounds), default=1.0) < SESSION_NOISE_WATCHED


def _measured(
    results: Sequence[TestResult], matrix: Matrix | None, width: int, spell: Spell, more: str, *, everything: bool
) -> list[str]:
    """What tests measured that stand neither in the table of the budgets nor in that of the engines."""
    besides = matrix.list_nodeids(results) if matrix is not None else ()
    tests = list_measured(results, everything=everything, besides=besides)
    limited = {result.nodeid for result in results if result.verdicts}
    return render_measured(tests, width, spell, more=more, budgets=all(test.nodeid in limited for test in tests))
