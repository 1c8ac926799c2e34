"""The main numbers of each test, and what it recorded itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_llmperf.reports.main_metrics import MAIN, choose_main
from pytest_llmperf.reports.matrix.sides import Side
from pytest_llmperf.reports.text import leave_out_alike

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pytest_llmperf.reports.matrix.matrix import Cell
    from pytest_llmperf.reports.result import TestResult

SUGGEST = "limits for these: pytest --llmperf-calibrate=10, then pytest-llmperf suggest"


@dataclass(frozen=True)
class MeasuredTest:
    """What one test measured.

    Attributes:
        nodeid: pytest's.
        values: the main metrics that have a value, by their full names.
        records: what the test recorded itself, by name.
    """

    nodeid: str
    values: Mapping[str, Cell]
    records: Mapping[str, Cell]


def list_measured(
    results: Sequence[TestResult], *, everything: bool = False, besides: Collection[str] = ()
) -> list[MeasuredTest]:
    """The tests that have a number to show, in the order in which they ended.

    Of a test with budgets, which has its own table, that is what it recorded itself.

    Args:
        results: those of the run.
        everything: whether the main metrics of tests with budgets are listed too.
        besides: the node ids of tests that are shown elsewhere.
    """
    tests = []
    for result in results:
        if result.nodeid not in besides:
            test = measure_test(result)
            tests.append(replace(test, values={}) if result.verdicts and not everything else test)
    return [test for test in tests if test.values or test.records]


def measure_test(result: TestResult) -> MeasuredTest:
    """The numbers of one test: of a latency p50 if there were requests enough, else the maximum."""
    if not result.measurement:
        return MeasuredTest(result.nodeid, {}, {})
    side = Side(result.measurement, (), (), "" if result.is_whole else "the test failed before its end")
    return MeasuredTest(
        result.nodeid,
        {name: side.make_cell(name) for name in choose_main(result.measurement)},
        {name: side.make_recorded_cell(name) for name in side.records},
    )


def list_names(tests: Sequence[MeasuredTest]) -> list[str]:
    """The metrics that one of the tests has a value of, in the order of the main ones."""
    return [name for names in MAIN for name in names if any(name in test.values for test in tests)]


def list_reasons(tests: Sequence[MeasuredTest]) -> list[str]:
    """Why values are invalid, each reason once, also if only its numbers differ."""
    cells = [cell for test in tests for cell in (*test.values.values(), *test.records.values())]
    return leave_out_alike(cell.reason for cell in cells if cell.sign)


def format_cell(cell: Cell | None) -> str:
    """``281 ms``, ``281 ms !`` where the value is invalid; empty for None."""
    return "" if cell is None else f"{cell.text} {cell.sign}".rstrip()
