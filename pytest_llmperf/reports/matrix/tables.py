"""The matrix as tables: lines for a terminal, and cells for a page."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from string import ascii_uppercase
from typing import TYPE_CHECKING

from pytest_llmperf.reports.text import GAP, leave_out_alike, measure_width, pad, shorten_left, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_llmperf.reports.matrix.matrix import Cell, Matrix, MatrixRow

MOST_ROWS = 24
MOST_ROWS_OF_A_PAGE = 60
"""Of more rows, in a terminal and in Markdown, those of the tests are shown whose engines differ most."""
_LONGEST_HEAD = 16
"""A longer label stands above the table, and a letter in its place at the head of the column."""
_MOST_REASONS = 4
_INDENT = "  "


def render_matrix(matrix: Matrix, width: int, spell: Callable[[str], str], *, more: str) -> list[str]:
    """Lines of at most ``width`` cells: the engines, then under the name of each test a line for each metric.

    Where the columns do not fit, there are several tables, each with the first engine and some of the others.

    Args:
        spell: makes one line of a text, in the characters that the terminal knows.
        more: where the rest stands, if not all tests are shown.
    """
    shown = select_rows(matrix, MOST_ROWS)
    rows = shown.rows
    heads = _name_columns(matrix)
    lines = [line for text in _describe(matrix, heads) for line in wrap(spell(text), width)]
    for columns in _split_columns(rows, heads, width, spell):
        lines += _draw(rows, heads, columns, width, spell)
    hidden = matrix.tests - shown.tests
    notes = [f"+{hidden} more {_tests(hidden)} with less difference; see {more}"] if hidden else []
    notes += describe_matrix(shown)
    return lines + [line for text in notes for line in wrap(spell(text), width)]


def list_cells(matrix: Matrix) -> list[tuple[str, ...]]:
    """A header and the rows, each with its test, its metric and a text for each engine."""
    labels = (column.label for column in matrix.columns)
    return [
        ("test", "metric", *labels),
        *((row.test, row.metric, *(f"{value} {mark}".strip() for value, mark in _texts(row))) for row in matrix.rows),
    ]


def describe_matrix(matrix: Matrix) -> list[str]:
    """What the cells do not say: the sentences about values that are invalid, and about tests that are left out."""
    texts = list(_explain(matrix.rows))
    if left_out := len(matrix.left_out):
        texts.append(f"not shown: {left_out} {_tests(left_out)} that not all of these engines ran")
    return texts


def _texts(row: MatrixRow) -> Iterator[tuple[str, str]]:
    """Of each cell its value and what stands behind it: the ratio or the sign."""
    for cell in row.cells:
        yield (cell.sign, "") if cell.value is None else (cell.text, cell.sign or cell.ratio_text)


def _tests(count: int) -> str:
    return "test" if count == 1 else "tests"


# ------------------------------------------------------------------------------------------------------- selection


def select_rows(matrix: Matrix, most: int) -> Matrix:
    """The same matrix with at most so many rows: those of the tests whose engines differ most, in their own order."""
    groups = {test: list(group) for test, group in itertools.groupby(matrix.rows, key=lambda row: row.test)}
    room = most - len(groups.get("", ()))
    kept = {""}
    for test in sorted((test for test in groups if test), key=lambda test: -_find_difference(groups[test])):
        if len(groups[test]) > room and len(kept) > 1:
            break
        kept.add(test)
        room -= len(groups[test])
    return replace(matrix, rows=tuple(row for row in matrix.rows if row.test in kept))


def _find_difference(rows: Sequence[MatrixRow]) -> float:
    """How far the ratio that differs most is from 1, on the scale of logarithms."""
    ratios = (cell.ratio for row in rows for cell in row.cells if cell.ratio)
    return max((abs(math.log(ratio)) for ratio in ratios), default=0.0)


# ----------------------------------------------------------------------------------------------------------- heads


def _name_columns(matrix: Matrix) -> list[str]:
    labels = [column.label for column in matrix.columns]
    if max(map(measure_width, labels)) <= _LONGEST_HEAD:
        return labels
    return [f"({ascii_uppercase[at]})" if at < len(ascii_uppercase) else f"({at + 1})" for at in range(len(labels))]


def _describe(matrix: Matrix, heads: Sequence[str]) -> Iterator[str]:
    ran = f"{matrix.tests} {_tests(matrix.tests)}"
    yield f"{ran} on {len(heads)} engines, each value beside its multiple of that of {matrix.columns[0].label}:"
    for head, column in zip(heads, matrix.columns, strict=True):
        name = f"{head} {column.label}" if head != column.label else head
        yield f"{name}: {column.title}" if column.title else name


def _explain(rows: Sequence[MatrixRow]) -> Iterator[str]:
    """What the signs of invalid values stand for, each reason once, also if only its numbers differ."""
    cells: list[Cell] = [cell for row in rows for cell in row.cells if cell.sign and cell.value is not None]
    reasons = leave_out_alike(cell.reason for cell in cells)
    yield from (f"{cells[0].sign} {reason}" for reason in reasons[:_MOST_REASONS])
    if more := len(reasons[_MOST_REASONS:]):
        yield f"{cells[0].sign} +{more} more reasons"


# --------------------------------------------------------------------------------------------------------- drawing


def _measure_columns(
    rows: Sequence[MatrixRow], heads: Sequence[str], spell: Callable[[str], str]
) -> tuple[list[int], list[int], list[int]]:
    """The width of the names, and of the values and the marks of each column."""
    texts = [[(spell(value), spell(mark)) for value, mark in _texts(row)] for row in rows]
    columns = list(zip(*texts, strict=True))
    marks = [max(measure_width(mark) for _, mark in column) for column in columns]
    values = [
        max(max(measure_width(value) for value, _ in column), measure_width(head) - (mark + 1 if mark else 0))
        for column, head, mark in zip(columns, heads, marks, strict=True)
    ]
    return [max(measure_width(spell(row.metric)) for row in rows)], values, marks


def _split_columns(
    rows: Sequence[MatrixRow], heads: Sequence[str], width: int, spell: Callable[[str], str]
) -> Iterator[list[int]]:
    """The columns of each table: the first and as many others as fit beside it, at least one."""
    (name,), values, marks = _measure_columns(rows, heads, spell)
    widths = [value + (mark + 1 if mark else 0) + len(GAP) for value, mark in zip(values, marks, strict=True)]
    room = width - len(_INDENT) - min(name, max(12, width // 3)) - widths[0]
    chosen, left = [0], room
    for at, needed in enumerate(widths[1:], 1):
        if needed > left and len(chosen) > 1:
            yield chosen
            chosen, left = [0], room
        chosen.append(at)
        left -= needed
    yield chosen


def _draw(
    rows: Sequence[MatrixRow], heads: Sequence[str], columns: Sequence[int], width: int, spell: Callable[[str], str]
) -> list[str]:
    (name,), values, marks = _measure_columns(rows, heads, spell)
    taken = sum(values[at] + (marks[at] + 1 if marks[at] else 0) + len(GAP) for at in columns)
    room = max(1, min(name, width - len(_INDENT) - taken))

    def draw(first: str, cells: Sequence[tuple[str, str]]) -> str:
        line = _INDENT + pad(shorten_left(first, room, spell("…")), room)
        for at in columns:
            value, mark = cells[at]
            behind = f" {pad(mark, marks[at])}" if marks[at] else ""
            line += GAP + pad(value, values[at], ">") + behind
        return line.rstrip()

    titles = [
        pad(head, value + (mark + 1 if mark else 0), ">")
        for head, value, mark in zip(heads, values, marks, strict=True)
    ]
    lines = [(_INDENT + " " * room + "".join(GAP + titles[at] for at in columns)).rstrip()]
    for test, group in itertools.groupby(rows, key=lambda row: row.test):
        lines += [shorten_left(spell(test), width, spell("…"))] if test else []
        lines += [draw(spell(row.metric), [(spell(v), spell(m)) for v, m in _texts(row)]) for row in group]
    return lines
