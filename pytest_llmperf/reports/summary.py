"""What stands at the end of the run: every budget with the room it has left, and the counts."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.measurement.units import BYTES, SECONDS, TOKENS_PER_SECOND, Quantity, format_value
from pytest_llmperf.reports.failure_table import limit_text, reason_text, worst_first
from pytest_llmperf.reports.text import GAP, NO_VALUE, columns, display_width, one_line, shorten_left, to_ascii, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_llmperf.reports.result import TestResult

ROWS = 20
REASONS = 8
_WHY = "why: "
_HEADER = ("budget", "measured", "limit", "margin", "verdict")
_ALIGNS = "<>>><"
_ENGINES_HEADER = ("engine", "tests", "startup", "peak", "idle", "TTFT", "output")
_ENOUGH_OF_A_TEST_ID = 36
_INDENT = "  "


def counts(results: Sequence[TestResult]) -> dict[Status, int]:
    """How many budgets ended in each status; every status is there."""
    found = Counter(verdict.status for result in results for verdict in result.verdicts)
    return {status: found[status] for status in Status}


def counts_text(results: Sequence[TestResult]) -> str:
    """``7 PASS, 1 FAIL, 2 NOT MEASURED``; ``none`` without budgets."""
    return ", ".join(f"{count} {status}" for status, count in counts(results).items() if count) or "none"


def summary_lines(results: Sequence[TestResult], *, width: int, unicode: bool = True) -> list[str]:
    """The lines of the summary, without a title and without colour; none when no test had a budget.

    What did not pass comes first, then the tightest. Where a column for the tests would be too narrow to tell
    them apart, each test gets a line of its own above its budgets, the test with the worst of them first.
    With ``unicode=False`` in plain ASCII.
    """
    spell: Callable[[str], str] = one_line if unicode else lambda text: to_ascii(one_line(text))
    lines = _budgets(results, width, spell)
    engines = _engines(results, width, spell)
    return [*lines, *([""] if lines and engines else []), *engines]


def _budgets(results: Sequence[TestResult], width: int, spell: Callable[[str], str]) -> list[str]:
    pairs = worst_first([(result, verdict) for result in results for verdict in result.verdicts])
    if not pairs:
        return []
    shown, left_out = pairs[:ROWS], len(pairs) - ROWS
    lines = _table(shown, width, spell)
    if left_out > 0:
        lines.append(f"+{left_out} more; see --llmperf-report=out.json")
    return [*lines, *_reasons(pairs, width, spell), f"budgets: {counts_text(results)}"]


def _reasons(pairs: Sequence[tuple[TestResult, Verdict]], width: int, spell: Callable[[str], str]) -> list[str]:
    """Why budgets have no verdict, each reason once: a test that passes all the same shows no table of its own."""
    reasons = dict.fromkeys(reason_text(verdict) for _, verdict in pairs if verdict.status.without_verdict)
    shown, left_out = list(reasons)[:REASONS], len(reasons) - REASONS
    lines = [line for reason in shown for line in wrap(spell(f"{_WHY}{reason}"), width)]
    return [*lines, f"{_WHY}+{left_out} more reasons"] if left_out > 0 else lines


def _table(pairs: Sequence[tuple[TestResult, Verdict]], width: int, spell: Callable[[str], str]) -> list[str]:
    cells = [_HEADER, *([spell(cell) for cell in _cells(verdict)] for _, verdict in pairs)]
    tests = [spell(result.nodeid) for result, _ in pairs]
    mark = spell("…")
    taken = sum(max(map(display_width, column)) + len(GAP) for column in zip(*cells, strict=True))
    longest = max(map(display_width, tests))
    if width - taken >= min(longest, _ENOUGH_OF_A_TEST_ID):
        rows = [(test, *row) for test, row in zip(["test", *tests], cells, strict=True)]
        return columns(rows, "<" + _ALIGNS, width, mark)
    header, *lines = (_INDENT + line for line in columns(cells, _ALIGNS, width - len(_INDENT), mark))
    groups: dict[str, list[str]] = {}
    for test, line in zip(tests, lines, strict=True):
        groups.setdefault(test, []).append(line)
    blocks = ([shorten_left(test, width, mark), *group] for test, group in groups.items())
    return [header, *(line for block in blocks for line in block)]


def _cells(verdict: Verdict) -> tuple[str, ...]:
    name = verdict.title or NO_VALUE
    return (name, verdict.measured_text, limit_text(verdict), verdict.margin_text, verdict.status.value)


# ---------------------------------------------------------------------------------- side by side, per engine


def _engines(results: Sequence[TestResult], width: int, spell: Callable[[str], str]) -> list[str]:
    """A row for each engine, when there were several."""
    rows = side_by_side(results)
    if not rows:
        return []
    return columns([[spell(cell) for cell in row] for row in rows], "<" + ">" * (len(rows[0]) - 1), width, spell("…"))


def side_by_side(results: Sequence[TestResult]) -> list[tuple[str, ...]]:
    """A row for each engine below a header, when there were several; none else. Nobody sees a column of nothing."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for result in results:
        for part in result.measurement.get("parts") or [result.measurement]:
            if engine := part.get("engine"):
                groups.setdefault((engine["name"], engine["version"], engine["model"]), []).append(part)
    rows = [(" ".join(key), *_engine_cells(group)) for key, group in groups.items()]
    if len(rows) < 2:
        return []
    known = [column for column in zip(_ENGINES_HEADER, *rows, strict=True) if set(column[1:]) != {NO_VALUE}]
    return list(zip(*known, strict=True))


def _engine_cells(group: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The worst start and peak of its tests, the last idle level, medians of rates and times."""
    idle = _values(group, "memory.idle")
    return (
        str(len(group)),
        _largest(_values(group, "latency.startup"), SECONDS),
        _largest(_values(group, "memory.peak"), BYTES),
        format_value(idle[-1], BYTES) if idle else NO_VALUE,
        _median(_values(group, "latency.ttft_mean"), SECONDS),
        _median(_values(group, "throughput.output"), TOKENS_PER_SECOND),
    )


def _values(group: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    readings: list[Mapping[str, Any]] = [part["readings"].get(name, {}) for part in group]
    return [reading["value"] for reading in readings if reading.get("value") is not None]


def _median(values: Sequence[float], quantity: Quantity) -> str:
    return format_value(median(values), quantity) if values else NO_VALUE


def _largest(values: Sequence[float], quantity: Quantity) -> str:
    return format_value(max(values), quantity) if values else NO_VALUE
