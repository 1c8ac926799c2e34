"""Mappings without what is usual: reports/compact/differences.py."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.reports.compact.differences import Table, fill_in, find_common, leave_out

USUAL: dict[str, Any] = {"a": 1, "b": None, "c": {}}


@pytest.mark.parametrize(
    ("found", "written"),
    [
        ({"a": 1, "b": None, "c": {}}, {}),
        ({"a": 2, "b": None, "c": {}, "d": 0}, {"a": 2, "d": 0}),
        ({"a": None, "b": 3, "c": {"x": 1}}, {"a": None, "b": 3, "c": {"x": 1}}),
        ({"b": None}, {"without": ["a", "c"]}),
        ({}, {"without": ["a", "b", "c"]}),
    ],
)
def test_what_is_usual_is_left_out_and_filled_in_again(found: dict[str, Any], written: dict[str, Any]) -> None:
    assert leave_out(found, USUAL) == written
    assert fill_in(written, USUAL) == found


def test_common_is_what_more_than_half_have() -> None:
    found: list[dict[str, Any]] = [{"cores": 8, "steal": steal} for steal in (0.0, 0.1, 0.2)]
    found += [{"cores": 4}, {"cores": 4, "steal": 0.3}]
    assert find_common(found, ["cores", "steal", "swap"]) == {"cores": 8}
    assert find_common(found[:1], ["cores"]) == {"cores": 8}
    assert find_common([], ["cores"]) == {}


def test_equal_values_have_one_place_in_a_table() -> None:
    table = Table()
    assert [table.find_place(value) for value in ({"a": 1, "b": 2}, [1], {"b": 2, "a": 1}, {"a": 1})] == [0, 1, 0, 2]
    assert table.rows == [{"a": 1, "b": 2}, [1], {"a": 1}]
