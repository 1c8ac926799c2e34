"""The engines side by side, as the page shows them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from pytest_llmperf.reports.matrix.build import build_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.reports.matrix.matrix import Matrix, MatrixRow
    from pytest_llmperf.reports.result import TestResult

_ARROWS = {"higher": "↑", "lower": "↓"}


@dataclass(frozen=True)
class SideBySide:
    """The matrix of a run.

    Attributes:
        matrix: itself.
        groups: each test with its rows, in order; the test is empty for what engines have beside their tests.
        reasons: why cells are invalid or missing, each once.
    """

    matrix: Matrix
    groups: tuple[tuple[str, tuple[MatrixRow, ...]], ...]
    reasons: tuple[str, ...]


def find_side_by_side(results: Sequence[TestResult], labels: Sequence[str]) -> SideBySide | None:
    """The matrix, with its columns in the order of ``labels``; None for fewer than two engines."""
    matrix = build_matrix(results, labels)
    if matrix is None:
        return None
    groups = tuple((test, tuple(rows)) for test, rows in groupby(matrix.rows, key=lambda row: row.test))
    reasons: dict[str, list[str]] = {}
    for row in matrix.rows:
        for cell in row.cells:
            if cell.reason:
                reasons.setdefault(f"{cell.sign} {cell.reason}", []).append(row.metric)
    told = tuple(f"{reason} ({', '.join(dict.fromkeys(metrics))})" for reason, metrics in reasons.items())
    return SideBySide(matrix, groups, told)


def find_arrow(better: str) -> str:
    """``↑`` where higher values are better, ``↓`` where lower ones are, empty if that is not known."""
    return _ARROWS.get(better, "")
