"""What tests measured, as lines for a terminal and as cells for a page."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pytest_llmperf.reports.measured.values import SUGGEST, format_cell, list_names, list_reasons
from pytest_llmperf.reports.text import GAP, NO_VALUE, align_columns, measure_width, shorten_left, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_llmperf.reports.measured.values import MeasuredTest

    Spell = Callable[[str], str]

MOST_TESTS = 20
MOST_REASONS = 4
_ENOUGH_OF_A_TEST_ID = 24
_INDENT = "  "
_TITLE = "measured:"


def render_measured(tests: Sequence[MeasuredTest], width: int, spell: Spell, *, more: str, budgets: bool) -> list[str]:
    """Lines of at most ``width`` cells, none without tests.

    A table with a line for each test and a column for each metric; where that does not fit, each test stands above its
    numbers. Tests of one function stand below its name.

    Args:
        spell: makes one line of a text, in the characters that the terminal knows.
        more: where the rest stands, if there are too many tests.
        budgets: whether all of these tests have budgets; if not, a line says how to get some.
    """
    if not tests:
        return []
    shown, hidden = tests[:MOST_TESTS], len(tests) - MOST_TESTS
    names = list_names(shown)
    taken = sum(_measure_column(name, shown, spell) + len(GAP) for name in names)
    fits = bool(names) and width - taken >= _ENOUGH_OF_A_TEST_ID
    lines = _draw_table(shown, names, width, spell) if fits else _draw_lists(shown, width, spell)
    notes = [f"+{hidden} more tests; see {more}"] if hidden > 0 else []
    notes += describe_reasons(shown)
    notes += [] if budgets else [SUGGEST]
    return lines + [line for note in notes for line in wrap(spell(note), width)]


def list_cells(tests: Sequence[MeasuredTest]) -> list[tuple[str, ...]]:
    """A header and the rows, each with its test, a text for each metric, and what the test recorded itself."""
    names = list_names(tests)
    recorded = any(test.records for test in tests)
    header = ("test", *names, *(("recorded",) if recorded else ()))
    return [
        header,
        *((test.nodeid, *_texts(test, names), *((_join_records(test),) if recorded else ())) for test in tests),
    ]


def describe_reasons(tests: Sequence[MeasuredTest]) -> list[str]:
    """``! the sampler died``: why values are invalid, each reason once, and few of many."""
    reasons = list_reasons(tests)
    more = len(reasons) - MOST_REASONS
    return [f"! {reason}" for reason in reasons[:MOST_REASONS]] + ([f"! +{more} more reasons"] if more > 0 else [])


def _texts(test: MeasuredTest, names: Sequence[str]) -> list[str]:
    return [format_cell(test.values.get(name)) or NO_VALUE if test.values else "" for name in names]


def _join_records(test: MeasuredTest) -> str:
    return ", ".join(f"{name} {format_cell(cell)}" for name, cell in test.records.items())


def _split_name(name: str) -> tuple[str, str]:
    """``latency.`` and ``ttft_p50``: the two lines that the name of a metric stands in."""
    group, dot, key = name.partition(".")
    return group + dot, key


def _measure_column(name: str, tests: Sequence[MeasuredTest], spell: Spell) -> int:
    texts = [*_split_name(name), *(text for test in tests for text in _texts(test, [name]))]
    return max(measure_width(spell(text)) for text in texts)


def _draw_table(tests: Sequence[MeasuredTest], names: Sequence[str], width: int, spell: Spell) -> list[str]:
    heads = list(zip(*map(_split_name, names), strict=True))
    blank = [""] * len(names)
    rows: list[tuple[str, list[str]]] = [(_TITLE, list(heads[0])), ("", list(heads[1]))]
    notes: dict[int, str] = {}
    for function, group in itertools.groupby(tests, key=lambda test: test.nodeid.partition("[")[0]):
        members = list(group)
        if len(members) > 1:
            rows.append((function, blank))
        for test in members:
            title = _INDENT + test.nodeid[len(function) :] if len(members) > 1 else test.nodeid
            rows.append((title, _texts(test, names)))
            if test.records:
                notes[len(rows) - 1] = _join_records(test)
    spelled = [[_spell_title(title, spell), *map(spell, cells)] for title, cells in rows]
    lines = align_columns(spelled, "<" + ">" * len(names), width, spell("…"))
    drawn = []
    for at, line in enumerate(lines):
        drawn.append(line)
        if at in notes:
            drawn += _indent(notes[at], width, spell)
    return drawn


def _spell_title(title: str, spell: Spell) -> str:
    blanks = title[: len(title) - len(title.lstrip())]
    return blanks + spell(title.lstrip())


def _draw_lists(tests: Sequence[MeasuredTest], width: int, spell: Spell) -> list[str]:
    lines = [_TITLE]
    for test in tests:
        numbers = [f"{name} {format_cell(cell)}" for name, cell in test.values.items()]
        numbers += [_join_records(test)] if test.records else []
        lines.append(shorten_left(spell(test.nodeid), width, spell("…")))
        lines += _indent(", ".join(numbers), width, spell)
    return lines


def _indent(text: str, width: int, spell: Spell) -> list[str]:
    return [_INDENT + line for line in wrap(spell(text), width - len(_INDENT))]
