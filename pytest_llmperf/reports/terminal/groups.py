"""The budgets of a run by test function: one row for each budget, with the worst of the cases that have it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.reports.matrix.nodeids import strip_engine
from pytest_llmperf.reports.verdicts import SEVERITY, sort_worst_first

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.reports.result import TestResult


@dataclass(frozen=True)
class Row:
    """One budget of a test function, over those of its cases that have it.

    Attributes:
        verdict: of the worst case.
        counts: how many cases have each status, the worst status first.
        case: ``[24-cs]``: the parameters of the worst case; empty if there are none.
        file: of its definition, from the root of the project; empty where pytest knows no place.
        line: of its definition; None where pytest knows none.
    """

    verdict: Verdict
    counts: tuple[tuple[Status, int], ...]
    case: str = ""
    file: str = ""
    line: int | None = None

    @property
    def cases(self) -> int:
        """How many cases have the budget."""
        return sum(count for _, count in self.counts)

    @property
    def outcome(self) -> str:
        """``FAIL`` of a single case, ``9 FAIL, 31 PASS`` of several."""
        if self.cases == 1:
            return self.verdict.status.value
        return ", ".join(f"{count} {status}" for status, count in self.counts)

    @property
    def worst_case(self) -> str:
        """The parameters of the worst of several cases; empty if all hold the budget, or none has a value."""
        is_worst = self.verdict.status is not Status.PASS and self.verdict.measured is not None
        return self.case if is_worst and self.cases > 1 else ""


@dataclass(frozen=True)
class FunctionRows:
    """A test function on one engine.

    Attributes:
        function: its node id, without parameters unless it has one case only.
        engine: the label of the engine, in a run of several; else empty.
        place: the file and the line of its definition, ``test_chat.py:12``; empty where pytest knows none.
        cases: how many of its cases have budgets.
        rows: its budgets, the worst first.
    """

    function: str
    engine: str
    place: str
    cases: int
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """``test_chat.py:12 TestChat::test_answer (40 cases, on old)``: where it stands and what it is."""
        name = f"{self.place} {self.function.partition('::')[2]}" if self.place else self.function
        return f"{name}{self._remark}"

    @property
    def name(self) -> str:
        """``test_chat.py::TestChat::test_answer (40 cases, on old)``: as pytest names it."""
        return f"{self.function}{self._remark}"

    @property
    def _remark(self) -> str:
        parts = [f"{self.cases} cases"] if self.cases > 1 else []
        parts += [f"on {self.engine}"] if self.engine else []
        return f" ({', '.join(parts)})" if parts else ""


def group_by_function(results: Sequence[TestResult]) -> list[FunctionRows]:
    """The tests with budgets, by function and engine; the one with the worst budget first."""
    pairs = sort_worst_first([(result, verdict) for result in results for verdict in result.verdicts])
    found: dict[tuple[str, str], list[tuple[TestResult, Verdict]]] = {}
    for result, verdict in pairs:
        found.setdefault((find_function(result), result.engine), []).append((result, verdict))
    return [_make_group(function, engine, own) for (function, engine), own in found.items()]


def _make_group(function: str, engine: str, pairs: Sequence[tuple[TestResult, Verdict]]) -> FunctionRows:
    nodeids = dict.fromkeys(result.nodeid for result, _ in pairs)
    budgets: dict[str, list[tuple[TestResult, Verdict]]] = {}
    for result, verdict in pairs:
        budgets.setdefault(_find_budget(verdict), []).append((result, verdict))
    name = strip_engine(next(iter(nodeids)), engine) if len(nodeids) == 1 else function
    return FunctionRows(
        name, engine, pairs[0][0].place, len(nodeids), tuple(_make_row(own) for own in budgets.values())
    )


def _find_budget(verdict: Verdict) -> str:
    """What rows are told apart by: a limit against a baseline and one in units may stand on one metric."""
    return f"{verdict.title} against a baseline" if verdict.relative else verdict.title


def _make_row(pairs: Sequence[tuple[TestResult, Verdict]]) -> Row:
    worst, verdict = pairs[0]
    return Row(verdict, count_by_severity(own for _, own in pairs), find_case(worst), worst.file, worst.line)


def count_by_severity(verdicts: Iterable[Verdict]) -> tuple[tuple[Status, int], ...]:
    """How many verdicts have each status that there is, the worst first."""
    counts = Counter(verdict.status for verdict in verdicts)
    return tuple((status, counts[status]) for status in SEVERITY if counts[status])


def rank_row(row: Row) -> tuple[int, bool, float]:
    """A key that sorts the worst first, and among equals the one with the least room."""
    margin = row.verdict.margin
    return (SEVERITY.index(row.verdict.status), margin is None, margin or 0.0)


def find_function(result: TestResult) -> str:
    """The node id of a test without its parameters."""
    path, colons, name = result.nodeid.partition("::")
    return f"{path}{colons}{name.partition('[')[0]}"


def find_case(result: TestResult) -> str:
    """``[24-cs]``: the parameters of a test without its engine, in brackets; empty if it has none."""
    return strip_engine(result.nodeid, result.engine).removeprefix(find_function(result))
