"""Which rows and cells the matrix of a run has: reports/matrix/build.py."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.measurement import RecordedValue
from pytest_llmperf.measurement.units import money
from pytest_llmperf.reports.matrix.build import build_matrix
from pytest_llmperf.reports.result import TestResult, from_wire, to_wire
from pytest_llmperf.reports.wire.measurement import measurement_to_wire
from tests.helpers.report_samples import BROKEN, ENGINE, PASSING, UNMEASURED, measurement, result
from tests.helpers.suite_results import make_result, run_on
from tests.helpers.verdicts import verdict

if TYPE_CHECKING:
    from pytest_llmperf.reports.matrix.matrix import Matrix, MatrixRow


def built(*results: TestResult, order: tuple[str, ...] = ()) -> Matrix:
    found = build_matrix(results, order)
    assert found is not None
    return found


def row_of(matrix: Matrix, metric: str, test: str = "t.py::test") -> MatrixRow:
    (found,) = [row for row in matrix.rows if row.metric == metric and row.test == test]
    return found


def test_unlike_tests_are_not_thrown_together() -> None:
    # Two engines of one speed in the test that both ran. One of them also ran a test of short answers, and medians over
    # the tests of each engine would show it as almost as slow as that test is.
    fast = [run_on(label, test="t.py::long") for label in ("old", "new")]
    slow = run_on("old", test="t.py::short", slower=20)
    matrix = built(*fast, slow)
    assert {row.test for row in matrix.rows} == {"", "t.py::long"}
    assert matrix.left_out == ("t.py::short",)
    first, second = row_of(matrix, "throughput.output", "t.py::long").cells
    assert first.value == second.value == pytest.approx(66.8, rel=0.01)
    assert second.ratio == pytest.approx(1.0)


def test_each_cell_has_the_value_of_its_engine_and_the_ratio_to_the_first() -> None:
    slower = replace(PASSING, measured=22.3)
    matrix = built(run_on("old", PASSING), run_on("new", slower, slower=3), run_on("fp8", PASSING))
    assert [column.label for column in matrix.columns] == ["old", "new", "fp8"]
    row = row_of(matrix, "throughput.output")
    assert row.better == "higher"
    assert [cell.value for cell in row.cells] == [66.7, 22.3, 66.7]
    assert [cell.ratio for cell in row.cells] == [None, pytest.approx(22.3 / 66.7), pytest.approx(1.0)]
    assert [cell.ratio_text for cell in row.cells] == ["", "×0.334", "×1.00"]


def test_columns_stand_in_the_order_of_the_command_line() -> None:
    results = [run_on(label) for label in ("c", "a", "b")]
    assert [column.label for column in built(*results, order=("a", "b", "c")).columns] == ["a", "b", "c"]
    assert [column.label for column in built(*results, order=("b",)).columns] == ["b", "c", "a"]


def test_two_settings_of_one_model_have_a_column_each() -> None:
    engines = [replace(ENGINE, variant=label, arguments=(("a", "1"), ("b", label))) for label in ("x", "y")]
    matrix = built(*(run_on(engine.variant, engine=engine) for engine in engines))
    titles = [column.title for column in matrix.columns]
    assert titles == ["vllm 0.11.0 Qwen/Qwen3-0.6B, b=x", "vllm 0.11.0 Qwen/Qwen3-0.6B, b=y"]


def test_parameters_of_a_test_are_rows_of_their_own() -> None:
    results = [run_on(label, PASSING, test=f"t.py::test[{size}]") for label in ("q", "p") for size in ("long", "short")]
    assert [row.test for row in built(*results).rows if row.test] == ["t.py::test[long]", "t.py::test[short]"]


def test_limited_metrics_are_shown_and_the_main_ones_where_there_are_no_limits() -> None:
    limited = built(run_on("old", PASSING, BROKEN), run_on("new", PASSING))
    assert [row.metric for row in limited.rows if row.test] == ["throughput.output", "memory.peak"]
    free = built(run_on("old"), run_on("new"))
    shown = ["latency.ttft_p50", "latency.tpot_p50", "throughput.output", "memory.peak"]
    assert [row.metric for row in free.rows if row.test] == shown


def test_main_metrics_are_at_a_statistic_that_all_engines_have() -> None:
    few = replace(measurement(), requests=measurement().requests[:3])
    matrix = built(run_on("old"), make_result(replace(few, engine=ENGINE), test="t.py::test", label="new"))
    assert [row.metric for row in matrix.rows if row.test][:2] == ["latency.ttft_max", "latency.tpot_max"]


def test_a_metric_without_limit_on_one_engine_is_read_there() -> None:
    first, second = row_of(built(run_on("old", BROKEN), run_on("new")), "memory.peak").cells
    assert first.value == pytest.approx(second.value)


def test_what_is_invalid_has_its_sign_and_no_ratio() -> None:
    doubted = replace(PASSING, status=Status.INVALID, reason="1 request failed")
    first, second, third = row_of(
        built(run_on("a", PASSING), run_on("b", doubted), run_on("c", PASSING)), "throughput.output"
    ).cells
    assert (second.sign, second.ratio, second.reason) == ("!", None, "1 request failed")
    assert second.text == "66.7 tok/s"
    assert third.ratio == pytest.approx(1.0)
    assert first.sign == third.sign == ""


def test_nothing_is_a_multiple_of_what_is_invalid() -> None:
    doubted = replace(PASSING, status=Status.INVALID, reason="1 request failed")
    first, second = row_of(built(run_on("a", doubted), run_on("b", PASSING)), "throughput.output").cells
    assert first.sign == "!"
    assert second.ratio is None


def test_a_metric_without_limit_is_invalid_by_what_is_known_of_its_measurement() -> None:
    matrix = built(run_on("a"), run_on("b", faults=("the sampler died",)))
    assert {row.cells[1].sign for row in matrix.rows if row.test} == {"!"}
    assert row_of(matrix, "memory.peak").cells[1].reason == "the sampler died"
    assert row_of(matrix, "memory.peak").cells[0].sign == ""


def test_what_is_not_there_has_its_sign_and_its_reason() -> None:
    matrix = built(run_on("a"), run_on("b", memory=None, memory_missing="the process cannot be seen"))
    _, second = row_of(matrix, "memory.peak").cells
    assert (second.value, second.sign, second.reason) == (None, "–", "the process cannot be seen")


def test_a_metric_that_no_engine_has_is_no_row() -> None:
    matrix = built(run_on("a", UNMEASURED, PASSING), run_on("b", UNMEASURED, PASSING))
    assert [row.metric for row in matrix.rows if row.test] == ["throughput.output"]


def test_the_values_of_a_test_that_failed_by_itself_are_not_those_of_the_whole_test() -> None:
    failed = replace(run_on("b", PASSING), outcome="failed", is_whole=False)
    _, second = row_of(built(run_on("a", PASSING), from_wire(to_wire(failed))), "throughput.output").cells
    assert (second.sign, second.ratio, second.reason) == ("!", None, "the test failed before its end")


def test_a_test_that_was_skipped_on_an_engine_is_left_out() -> None:
    both, one = (run_on(label, PASSING) for label in ("a", "b")), run_on("a", PASSING, test="t.py::only")
    skipped = TestResult("t.py::only[b]", (), {}, "skipped", engine="b")
    assert built(*both, one, skipped).left_out == ("t.py::only",)


def test_values_in_several_units_have_no_ratio() -> None:
    values = {"old": (0.93, "1"), "new": (93.0, "%")}
    results = [run_on(label, records=(RecordedValue("accuracy", *value),)) for label, value in values.items()]
    assert [cell.ratio for cell in row_of(built(*results), "accuracy").cells] == [None, None]
    costs = {"old": 2.0, "new": 3.0}
    priced = {
        label: replace(verdict(Status.PASS, "cost.total", "cost.total", 9.0, "9", value), quantity=money(unit))
        for (label, value), unit in zip(costs.items(), "€$", strict=True)
    }
    row = row_of(built(*(run_on(label, own) for label, own in priced.items())), "cost.total")
    assert [(cell.value, cell.ratio) for cell in row.cells] == [(2.0, None), (3.0, None)]


def test_recorded_values_are_rows() -> None:
    values = {"old": 0.8, "new": 0.6}
    results = [run_on(label, records=(RecordedValue("accuracy", value, "1"),)) for label, value in values.items()]
    row = row_of(built(*results), "accuracy")
    assert [(cell.text, cell.ratio_text) for cell in row.cells] == [("0.8", ""), ("0.6", "×0.750")]
    assert row.better == ""


def test_start_up_is_a_row_of_the_engines() -> None:
    engines = [replace(ENGINE, variant=label, startup_seconds=s) for label, s in (("a", 40.0), ("b", 10.0))]
    row = row_of(built(*(run_on(engine.variant, engine=engine) for engine in engines)), "latency.startup", "")
    assert [(cell.text, cell.ratio_text) for cell in row.cells] == [("40.0 s", ""), ("10.0 s", "×0.250")]


def test_engines_that_were_started_with_several_settings_have_no_one_start_up() -> None:
    other = replace(ENGINE, variant="a", arguments=(("x", "1"),))
    results = [run_on("a"), run_on("b"), run_on("a", test="t.py::other", engine=other), run_on("b", test="t.py::other")]
    assert all(row.test for row in built(*results).rows)


@pytest.mark.parametrize("count", [2, 3, 6])
def test_every_row_has_a_cell_for_each_column(count: int) -> None:
    matrix = built(*(run_on(f"e{number}", PASSING) for number in range(count)))
    assert len(matrix.columns) == count
    assert {len(row.cells) for row in matrix.rows} == {count}


# ----------------------------------------------------------------------------------------- engines of one test, and A/B


def with_parts(*labels: str, nodeid: str = "t.py::pair") -> TestResult:
    parts = tuple(replace(measurement(), engine=replace(ENGINE, model=label), label=label) for label in labels)
    whole = replace(measurement(), parts=parts)
    limit = replace(BROKEN, engine=labels[0])
    return TestResult(nodeid, (limit,), measurement_to_wire(whole, ["memory.peak"]), "failed")


def test_the_engines_that_a_test_uses_together_are_columns() -> None:
    matrix = built(with_parts("large", "small"), with_parts("large", "small", nodeid="t.py::other"))
    assert [column.label for column in matrix.columns] == ["large", "small"]
    assert [(row.test, row.metric) for row in matrix.rows if row.test] == [
        ("t.py::pair", "memory.peak"),
        ("t.py::other", "memory.peak"),
    ]


def test_tests_that_use_other_engines_together_are_left_out() -> None:
    pairs = [with_parts("large", "small"), with_parts("large", "judge", nodeid="t.py::judged")]
    assert built(*pairs, with_parts("large", "small", nodeid="t.py::b")).tests == 2


def test_an_engine_of_the_suite_stands_apart_from_one_that_the_test_adds() -> None:
    results = []
    for label, tokens in (("old", 20), ("new", 20)):
        own = replace(measurement(), engine=replace(ENGINE, variant=label), label=label)
        judge = replace(measurement(), engine=replace(ENGINE, model="judge"), label="judge", requests=own.requests[:2])
        whole = replace(own, parts=(judge, own), requests=own.requests + judge.requests, label="")
        results.append(make_result(whole, replace(PASSING, measured=float(tokens)), test="t.py::test", label=label))
    row = row_of(built(*results), "throughput.output")
    assert [cell.value for cell in row.cells] == [pytest.approx(66.8, rel=0.01)] * 2


def test_an_ab_run_compares_the_averages_of_its_turns() -> None:
    pairs = {"new": "new", "old": "old", "values": {}}
    judged = replace(PASSING, relative=True, baseline=60.0, measured=66.0, limit_text="-5 %")
    broken = verdict(Status.INVALID, "memory.peak", "memory.peak", reason="a stranger came")
    one = replace(result("t.py::a", (judged, broken)), pairs=pairs)
    matrix = built(one, result("t.py::without_turns", (PASSING,)))
    assert [column.label for column in matrix.columns] == ["old", "new"]
    (row,) = matrix.rows
    assert [cell.value for cell in row.cells] == [60.0, 66.0]
    assert row.cells[1].ratio_text == "×1.10"
    assert matrix.left_out == ("t.py::without_turns",)


@pytest.mark.parametrize(
    "results",
    [
        [],
        [result("t.py::a"), result("t.py::b")],
        [run_on("a"), run_on("a", test="t.py::b")],
        [run_on("a"), run_on("b", test="t.py::b")],
        [with_parts("large")],
        [TestResult("t.py::t", (), {})],
    ],
)
def test_there_is_none_without_a_test_on_two_engines(results: list[TestResult]) -> None:
    assert build_matrix(results) is None


def test_plain_data_is_of_builtin_types() -> None:
    plain = built(run_on("old", PASSING), run_on("new", PASSING)).to_plain()
    assert plain["columns"][0] == {"label": "old", "title": "vllm 0.11.0 Qwen/Qwen3-0.6B"}
    assert plain["rows"][-1]["cells"][1]["ratio"] == pytest.approx(1.0)
