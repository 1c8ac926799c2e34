"""What the matrix of a run is: plain data, from which each form of report draws its own table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.matrix.nodeids import strip_engines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.reports.result import TestResult

INVALID = "!"
NONE = "–"


@dataclass(frozen=True)
class Column:
    """One engine.

    Attributes:
        label: what the run calls it, different for each column.
        title: its name, version and model, and the settings in which engines of the same title differ.
    """

    label: str
    title: str


@dataclass(frozen=True)
class Cell:
    """What one engine gave in one row.

    Attributes:
        value: in the base unit of the metric; None if there is none.
        text: the value as it is shown; empty without one.
        ratio: the value as a multiple of that in the first column; None in the first column, and where one of the two
            is missing, invalid or not above 0.
        sign: ``!`` where the value is invalid, ``–`` where there is none, else empty.
        reason: why there is a sign, in one sentence; empty without a sign.
    """

    value: float | None
    text: str = ""
    ratio: float | None = None
    sign: str = ""
    reason: str = ""

    @property
    def ratio_text(self) -> str:
        """``×1.23``, with three significant digits; empty without a ratio."""
        return "" if self.ratio is None else f"×{format_ratio(self.ratio)}"


@dataclass(frozen=True)
class MatrixRow:
    """One metric of one test on each engine.

    Attributes:
        test: the id of the test without the part that names its engine; empty for what an engine has beside its tests.
        metric: its full name, ``latency.ttft_p95``; of a value that the test recorded, that name.
        better: ``lower`` or ``higher``; empty if that is not known, as for a recorded value.
        cells: one for each column of the matrix.
    """

    test: str
    metric: str
    better: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Matrix:
    """The tests that all engines ran.

    Attributes:
        columns: the engines, of which the first is the one that ratios are of.
        rows: grouped by test, in the order in which the tests ended first.
        left_out: the tests that some engines ran and some did not, without the part of the id that names the engine.
    """

    columns: tuple[Column, ...]
    rows: tuple[MatrixRow, ...]
    left_out: tuple[str, ...] = ()

    @property
    def tests(self) -> int:
        """The number of tests that have rows."""
        return len({row.test for row in self.rows if row.test})

    def list_nodeids(self, results: Sequence[TestResult]) -> set[str]:
        """The full ids of the tests that have rows, among these results."""
        shown = {row.test for row in self.rows}
        names = strip_engines([(result.nodeid, result.engine) for result in results])
        return {result.nodeid for name, result in zip(names, results, strict=True) if name in shown}

    def to_plain(self) -> dict[str, Any]:
        """The same of exact builtin types."""
        return {
            "columns": [{"label": str(column.label), "title": str(column.title)} for column in self.columns],
            "rows": [
                {
                    "test": str(row.test),
                    "metric": str(row.metric),
                    "better": str(row.better),
                    "cells": [
                        {
                            "value": None if cell.value is None else float(cell.value),
                            "text": str(cell.text),
                            "ratio": None if cell.ratio is None else float(cell.ratio),
                            "sign": str(cell.sign),
                            "reason": str(cell.reason),
                        }
                        for cell in row.cells
                    ],
                }
                for row in self.rows
            ],
            "left_out": [str(test) for test in self.left_out],
        }


def format_ratio(ratio: float) -> str:
    """``0.345``, ``1.23``, ``12.3``, ``1230``: three significant digits."""
    rounded = float(f"{ratio:.3g}")
    return f"{rounded:.{min(12, max(0, 2 - math.floor(math.log10(rounded))))}f}" if rounded > 0 else "0"
