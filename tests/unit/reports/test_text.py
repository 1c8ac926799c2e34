"""Text that lines up: reports/text.py."""

from __future__ import annotations

from pytest_llmperf.reports.text import (
    align_columns,
    leave_out_alike,
    measure_width,
    pad,
    shorten_left,
    to_ascii,
    to_one_line,
    wrap,
)


def test_wide_characters_take_two_cells_and_combining_ones_none() -> None:
    assert measure_width("abc") == 3
    assert measure_width("模型") == 4
    assert measure_width("e\N{COMBINING ACUTE ACCENT}") == 1


def test_padding_counts_cells() -> None:
    assert pad("模", 4) + "|" == "模  |"
    assert pad("1", 3, ">") == "  1"


def test_a_long_text_keeps_its_end() -> None:
    assert shorten_left("tests/test_chat.py::test_a", 10) == "…y::test_a"
    assert shorten_left("short", 10) == "short"
    assert measure_width(shorten_left("模型模型模型", 6)) <= 6


def test_lines_break_between_words_and_inside_those_that_are_too_long() -> None:
    assert wrap("one two three", 7) == ["one two", "three"]
    assert wrap("a " + "x" * 12, 5) == ["a", "xxxxx", "xxxxx", "xx"]
    assert wrap("模型模型", 5) == ["模型", "模型"]
    assert wrap("", 5) == [""]


def test_one_line_has_no_breaks_and_no_colours() -> None:
    assert to_one_line("a\n  b\t\x1b[31mred\x1b[0m\x07") == "a b red"


def test_ascii_spells_what_it_can() -> None:
    assert to_ascii("ΣN ≤ 3 − 1 → 2…") == "sum N <= 3 - 1 -> 2..."
    assert to_ascii("模") == "?"


def test_columns_are_equally_wide_in_every_line() -> None:
    assert align_columns([("a", "1"), ("bcd", "234")], "<>", 80) == ["a      1", "bcd  234"]


def test_columns_that_do_not_fit_shorten_the_first() -> None:
    lines = align_columns([("a/long/path/to/a/test", "12345"), ("b", "1")], "<>", 20)
    assert [measure_width(line) for line in lines] == [20, 20]
    assert lines[0].startswith("…")
    assert lines[0].endswith("a/test  12345")


def test_texts_that_differ_in_numbers_only_are_one() -> None:
    late = ["late by 6.71 ms (p50)", "late by 7.42 ms (p50)", "late by 1,234 ms (max)", "late by 6.71 ms (p50)"]
    assert leave_out_alike(late) == [late[0], late[2]]
