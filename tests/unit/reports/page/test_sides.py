"""The engines side by side, as the page shows them."""

from __future__ import annotations

from dataclasses import replace

from pytest_llmperf.reports.page.render import render
from pytest_llmperf.reports.page.sides import find_side_by_side
from tests.helpers.report_samples import BROKEN, ENGINE, PASSING, measurement, result


def test_rows_are_grouped_by_test_and_columns_are_in_the_order_of_the_options() -> None:
    results = []
    for label in ("old", "new"):
        measured = replace(measurement(), engine=replace(ENGINE, variant=label))
        results.append(replace(result(f"t.py::test_a[{label}]", (PASSING, BROKEN), measured), engine=label))
    found = find_side_by_side(results, ["new", "old"])
    assert found is not None
    assert [column.label for column in found.matrix.columns] == ["new", "old"]
    assert [test for test, _ in found.groups] == ["", "t.py::test_a"]
    text = render(results, {"run": {"engines": ["new", "old"]}})
    table = text.partition('id="matrix"')[2].partition("</table>")[0]
    assert table.index(">new") < table.index(">old")
    assert "throughput.output ↑" in table
    assert "×1.00" in table


def test_one_engine_has_nothing_beside_it() -> None:
    assert find_side_by_side([result()], []) is None
    assert 'id="matrix"' not in render([result()], {})


def test_a_reason_is_told_once_for_all_the_metrics_that_it_is_of() -> None:
    results = []
    for label, faults in (("old", ()), ("new", ("the server was restarted",))):
        measured = replace(measurement(), engine=replace(ENGINE, variant=label), faults=faults)
        results.append(replace(result(f"t.py::test_a[{label}]", (PASSING, BROKEN), measured), engine=label))
    found = find_side_by_side(results, ["old", "new"])
    assert found is not None
    [reason] = found.reasons
    assert reason.startswith("! the server was restarted (")
    assert "throughput.output" in reason
    assert "memory.peak" in reason
