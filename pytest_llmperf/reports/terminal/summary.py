"""The summary at the end of a run: every budget with the room it has left, and the counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.measurement.units import SECONDS, format_value
from pytest_llmperf.reports.matrix.build import build_matrix
from pytest_llmperf.reports.matrix.tables import render_matrix
from pytest_llmperf.reports.measured.table import render_measured
from pytest_llmperf.reports.measured.values import list_measured
from pytest_llmperf.reports.notes import list_notes
from pytest_llmperf.reports.result import count_statuses, find_variant, shows_cost
from pytest_llmperf.reports.terminal.failure_table import COST, format_limit, format_reason, sort_worst_first
from pytest_llmperf.reports.text import (
    GAP,
    NO_VALUE,
    align_columns,
    measure_width,
    shorten_left,
    to_ascii,
    to_one_line,
    wrap,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_llmperf.reports.matrix.matrix import Matrix
    from pytest_llmperf.reports.result import TestResult

ROWS = 20
SESSION_NOISE_WATCHED = 0.1
"""A verdict whose interval ends closer to the limit than this share is named if noise between sessions is unknown."""
REASONS = 8
_MORE = "--llmperf-report=out.html"
_WHY = "why: "
_EXPLAINED = (Status.INVALID, Status.NOT_MEASURED, Status.NO_BUDGET, Status.NO_BASELINE, Status.INCONCLUSIVE)
_HEADER = ("budget", "measured", "limit", "margin", "verdict")
_ALIGNS = "<>>><>"
_ENOUGH_OF_A_TEST_ID = 36
_INDENT = "  "


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
) -> list[str]:
    """The lines of the summary, without a title and without colour.

    What did not pass comes first, then the tightest. Where a column for the tests would be too narrow to tell
    them apart, each test gets a line of its own above its budgets, the test with the worst of them first.
    With ``unicode=False`` in plain ASCII. ``engines`` are the labels of the run's engines in order.
    ``table`` says whether what tests measured is shown: None for that of tests without budgets.
    """
    spell: Callable[[str], str] = to_one_line if unicode else lambda text: to_ascii(to_one_line(text))
    matrix = None if any(result.pairs for result in results) else build_matrix(results, engines)
    blocks = [] if table is False else [_measured(results, matrix, width, spell, everything=bool(table))]
    blocks.append(_budgets(results, width, spell))
    blocks.append([] if matrix is None else render_matrix(matrix, width, spell, more=_MORE))
    return [line for at, block in enumerate(filter(None, blocks)) for line in ([""] if at else []) + block]


def _budgets(results: Sequence[TestResult], width: int, spell: Callable[[str], str]) -> list[str]:
    pairs = sort_worst_first([(result, verdict) for result in results for verdict in result.verdicts])
    if not pairs:
        return []
    shown, left_out = pairs[:ROWS], len(pairs) - ROWS
    lines = _table(shown, width, spell)
    if left_out > 0:
        lines.append(f"+{left_out} more; see --llmperf-report=out.json")
    lines += [line for text in describe_pairs(shown) for line in wrap(spell(text), width)]
    notes = [line for note in list_notes(results) for line in wrap(spell(f"note: {note}"), width)]
    warmups = [line for text in _describe_warmups(results) for line in wrap(spell(text), width)]
    return [*lines, *_reasons(pairs, width, spell), *notes, *warmups, f"budgets: {format_counts(results)}"]


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


def _reasons(pairs: Sequence[tuple[TestResult, Verdict]], width: int, spell: Callable[[str], str]) -> list[str]:
    """Why budgets have no verdict, each reason once: a test that passes without one shows no table of its own."""
    reasons = dict.fromkeys(format_reason(verdict) for _, verdict in pairs if verdict.status in _EXPLAINED)
    shown, left_out = list(reasons)[:REASONS], len(reasons) - REASONS
    lines = [line for reason in shown for line in wrap(spell(f"{_WHY}{reason}"), width)]
    return [*lines, f"{_WHY}+{left_out} more reasons"] if left_out > 0 else lines


def _table(pairs: Sequence[tuple[TestResult, Verdict]], width: int, spell: Callable[[str], str]) -> list[str]:
    cells = [_HEADER, *(tuple(spell(cell) for cell in _cells(verdict)) for _, verdict in pairs)]
    if shows_cost([result for result, _ in pairs]):
        costs = [COST, *(spell(verdict.cost_text) for _, verdict in pairs)]
        cells = [(*row, cost) for row, cost in zip(cells, costs, strict=True)]
    tests = [spell(result.nodeid) for result, _ in pairs]
    mark = spell("…")
    aligns = _ALIGNS[: len(cells[0])]
    taken = sum(max(map(measure_width, column)) + len(GAP) for column in zip(*cells, strict=True))
    longest = max(map(measure_width, tests))
    if width - taken >= min(longest, _ENOUGH_OF_A_TEST_ID):
        rows = [(test, *row) for test, row in zip(["test", *tests], cells, strict=True)]
        return align_columns(rows, "<" + aligns, width, mark)
    header, *lines = (_INDENT + line for line in align_columns(cells, aligns, width - len(_INDENT), mark))
    groups: dict[str, list[str]] = {}
    for test, line in zip(tests, lines, strict=True):
        groups.setdefault(test, []).append(line)
    blocks = ([shorten_left(test, width, mark), *group] for test, group in groups.items())
    return [header, *(line for block in blocks for line in block)]


def _cells(verdict: Verdict) -> tuple[str, ...]:
    name = verdict.title or NO_VALUE
    return (name, verdict.measured_with_interval, format_limit(verdict), verdict.margin_text, verdict.status.value)


def _measured(
    results: Sequence[TestResult], matrix: Matrix | None, width: int, spell: Callable[[str], str], *, everything: bool
) -> list[str]:
    """What tests measured that stand neither in the table of the budgets nor in that of the engines."""
    besides = matrix.list_nodeids(results) if matrix is not None else ()
    tests = list_measured(results, everything=everything, besides=besides)
    limited = {result.nodeid for result in results if result.verdicts}
    return render_measured(tests, width, spell, more=_MORE, budgets=all(test.nodeid in limited for test in tests))
