"""The matrix as lines and cells: reports/matrix/tables.py."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.reports.matrix.build import build_matrix
from pytest_llmperf.reports.matrix.matrix import format_ratio
from pytest_llmperf.reports.matrix.tables import MOST_ROWS, list_cells, render_matrix
from pytest_llmperf.reports.text import measure_width, to_ascii, to_one_line
from tests.helpers.report_samples import BROKEN, ENGINE, PASSING
from tests.helpers.suite_results import run_on

if TYPE_CHECKING:
    from pytest_llmperf.reports.matrix.matrix import Matrix
    from pytest_llmperf.reports.result import TestResult

pytestmark = pytest.mark.once

LABELS = ("old", "new", "fp8", "awq", "graphs", "llamacpp:SmolLM2-135M-Instruct-Q4_1.gguf")


def drawn(*results: TestResult, width: int = 120) -> list[str]:
    return render_matrix(built(*results), width, to_one_line, more="out.md")


def built(*results: TestResult) -> Matrix:
    found = build_matrix(results)
    assert found is not None
    return found


def test_each_test_stands_above_its_metrics() -> None:
    faster = replace(PASSING, measured=133.4)
    assert drawn(run_on("old", PASSING), run_on("new", faster)) == [
        "1 test on 2 engines, each value beside its multiple of that of old:",
        "old: vllm 0.11.0 Qwen/Qwen3-0.6B",
        "new: vllm 0.11.0 Qwen/Qwen3-0.6B",
        "                            old              new",
        "  latency.startup        42.1 s     42.1 s ×1.00",
        "t.py::test",
        "  throughput.output  66.7 tok/s  133 tok/s ×2.00",
    ]


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0.0, "0"),
        (0.99971, "1.00"),
        (1.0, "1.00"),
        (0.3345, "0.335"),
        (12.34, "12.3"),
        (1234.0, "1230"),
        (1e-5, "0.0000100"),
    ],
)
def test_a_multiple_has_three_digits(ratio: float, text: str) -> None:
    assert format_ratio(ratio) == text


def test_a_sign_stands_behind_its_value_and_its_reason_below() -> None:
    doubted = replace(PASSING, status=Status.INVALID, reason="1 request failed")
    results = [run_on("a", PASSING), run_on("b", doubted), run_on("c", PASSING, test="t.py::only_on_c"), run_on("c")]
    lines = drawn(*results, run_on("b", test="t.py::on_b_and_c"), run_on("c", test="t.py::on_b_and_c"))
    assert "66.7 tok/s !" in "\n".join(lines)
    assert lines[-2:] == ["! 1 request failed", "not shown: 2 tests that not all of these engines ran"]


def test_each_reason_stands_there_once_and_few_of_many() -> None:
    results = [
        run_on(label, replace(PASSING, status=Status.INVALID, reason=f"reason {letter} of {at}"), test=f"t.py::t{at}")
        for at, letter in enumerate("ABCDEFABC")
        for label in "ab"
    ]
    lines = [line for line in drawn(*results) if line.startswith("! ")]
    reasons = [f"! reason {letter} of {at}" for at, letter in enumerate("ABCD")]
    assert lines == [*reasons, "! +2 more reasons"]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("count", [2, 3, 6])
@pytest.mark.parametrize("unicode", [True, False])
def test_it_fits_the_width_and_names_every_engine_in_full(width: int, count: int, unicode: bool) -> None:
    doubted = replace(BROKEN, status=Status.INVALID, reason="the sampler died, and nothing is known of the rest " * 3)
    test = "tests/test_of_a_long_answer.py::test_with_a_long_name[" + "x" * 80 + "]"
    matrix = built(*(run_on(label, PASSING, doubted, test=test) for label in LABELS[-count:]))

    def spell(text: str) -> str:
        return to_one_line(text) if unicode else to_ascii(to_one_line(text))

    lines = render_matrix(matrix, width, spell, more="out.md")
    assert max(map(measure_width, lines)) <= width
    assert "\n".join(lines).isascii() is not unicode
    text = "".join("".join(lines).split())
    assert all(label in text for label in LABELS[-count:])
    assert all(text.count(f"({letter})") >= 2 for letter in "ABCDEF"[:count])
    assert text.count("66.7tok/s") >= count


def test_in_a_narrow_terminal_the_first_engine_stands_in_each_table() -> None:
    lines = drawn(*(run_on(label, PASSING) for label in LABELS[:5]), width=60)
    heads = [line.split() for line in lines if line.split() and line.split()[0] == "old"]
    assert len(heads) > 1
    assert [name for head in heads for name in head[1:]] == ["new", "fp8", "awq", "graphs"]


def test_of_many_tests_those_that_differ_most_are_shown() -> None:
    results = [run_on("old", PASSING, test=f"t.py::t{at}") for at in range(200)]
    results += [
        run_on("new", replace(PASSING, measured=66.7 * (3 if at == 150 else 1 + at / 1000)), test=f"t.py::t{at}")
        for at in range(200)
    ]
    lines = drawn(*results)
    shown = [line for line in lines if line.startswith("t.py")]
    assert len(shown) == MOST_ROWS - 1
    assert "t.py::t150" in shown
    assert "t.py::t199" in shown
    assert "t.py::t0" not in shown
    assert lines[-1] == f"+{200 - len(shown)} more tests with less difference; see out.md"


def test_settings_in_which_engines_differ_stand_beside_their_names() -> None:
    engines = [
        replace(ENGINE, variant=label, arguments=(("eager", flag),)) for label, flag in (("a", "on"), ("b", "off"))
    ]
    lines = drawn(*(run_on(engine.variant, engine=engine) for engine in engines))
    assert lines[1:3] == ["a: vllm 0.11.0 Qwen/Qwen3-0.6B, eager=on", "b: vllm 0.11.0 Qwen/Qwen3-0.6B, eager=off"]


def test_cells_hold_all_rows_with_test_and_metric() -> None:
    head, *rows = list_cells(built(run_on("old", PASSING), run_on("new", PASSING, memory=None)))
    assert head == ("test", "metric", "old", "new")
    assert rows == [
        ("", "latency.startup", "42.1 s", "42.1 s ×1.00"),
        ("t.py::test", "throughput.output", "66.7 tok/s", "66.7 tok/s ×1.00"),
    ]
    assert list_cells(built(run_on("a"), run_on("b", memory=None)))[-1][1:] == ("memory.peak", "17.3 GiB", "–")
