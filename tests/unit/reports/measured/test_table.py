"""What tests measured as lines and cells: reports/measured/table.py."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.measurement.measurement import RecordedValue
from pytest_llmperf.reports.measured.table import MOST_TESTS, list_cells, render_measured
from pytest_llmperf.reports.measured.values import SUGGEST, list_measured
from pytest_llmperf.reports.text import measure_width, to_ascii, to_one_line
from tests.helpers.report_samples import PASSING, RECORDS, measurement, result

if TYPE_CHECKING:
    from pytest_llmperf.reports.result import TestResult


def free(nodeid: str = "t.py::free", **changed: object) -> TestResult:
    return result(nodeid, (), replace(measurement(), **changed), outcome="passed")  # type: ignore[arg-type]


def drawn(*results: TestResult, width: int = 100, budgets: bool = False) -> list[str]:
    return render_measured(list_measured(results), width, to_one_line, more="out.md", budgets=budgets)


def test_each_test_is_a_line_of_the_table() -> None:
    few = free("t.py::few", requests=measurement().requests[:3])
    assert drawn(free(), few, width=120) == [
        "measured:   latency.  latency.  latency.  latency.  throughput.   memory.",
        "            ttft_p50  ttft_max  tpot_p50  tpot_max       output      peak",
        "t.py::free    100 ms         –   10.0 ms         –   66.8 tok/s  17.3 GiB",
        "t.py::few          –    100 ms         –   10.0 ms   67.3 tok/s  17.3 GiB",
        SUGGEST,
    ]


def test_tests_of_one_function_stand_below_its_name() -> None:
    records = (RecordedValue("score", 0.5, "points"), RecordedValue("hits", 3, "1"))
    lines = drawn(free("t.py::f[a]", records=records), free("t.py::f[b]"), free("t.py::g[a]"))
    assert [line.split("  100")[0].rstrip() for line in lines[2:7]] == [
        "t.py::f",
        "  [a]",
        "  score 0.5 points, hits 3",
        "  [b]",
        "t.py::g[a]",
    ]


def test_in_a_narrow_terminal_the_test_stands_above_its_numbers() -> None:
    assert drawn(free("tests/test_of_a_long_answer.py::test_with_a_long_name"), width=60)[:4] == [
        "measured:",
        "tests/test_of_a_long_answer.py::test_with_a_long_name",
        "  latency.ttft_p50 100 ms, latency.tpot_p50 10.0 ms,",
        "  throughput.output 66.8 tok/s, memory.peak 17.3 GiB",
    ]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_it_fits_the_width(width: int, unicode: bool) -> None:
    tests = list_measured(
        [
            free("tests/x.py::test_" + "b" * 190, records=(RecordedValue("größe" * 30, 1.0, "µm"),)),
            free("t.py::few", requests=measurement().requests[:3], faults=("the sampler died … " * 9,)),
        ]
    )

    def spell(text: str) -> str:
        return to_one_line(text) if unicode else to_ascii(to_one_line(text))

    lines = render_measured(tests, width, spell, more="out.md", budgets=False)
    assert max(map(measure_width, lines)) <= width
    assert "\n".join(lines).isascii() is not unicode


def test_of_many_tests_the_rest_is_counted() -> None:
    lines = drawn(*(free(f"t.py::t{at}") for at in range(200)))
    assert sum(line.startswith("t.py") for line in lines) == MOST_TESTS
    assert lines[-2:] == [f"+{200 - MOST_TESTS} more tests; see out.md", SUGGEST]


def test_a_test_with_budgets_shows_what_it_recorded() -> None:
    limited = result("t.py::limited", (PASSING,), replace(measurement(), records=RECORDS))
    assert drawn(free(), limited)[3:5] == ["t.py::limited", "  accuracy 0.93"]
    assert drawn(limited, budgets=True) == ["measured:", "t.py::limited", "  accuracy 0.93"]


def test_what_is_invalid_is_explained_once() -> None:
    lines = drawn(
        *(free(f"t.py::t{at}", faults=(f"fault {letter} of {at}",)) for at, letter in enumerate("ABCDEF" * 2))
    )
    reasons = [f"! fault {letter} of {at}" for at, letter in enumerate("ABCD")]
    assert [line for line in lines if line.startswith("!")] == [*reasons, "! +2 more reasons"]
    assert sum("66.8 tok/s !" in line for line in lines) == 12


def test_where_there_are_budgets_already_nothing_is_suggested() -> None:
    assert SUGGEST not in drawn(free(), budgets=True)
    assert drawn() == []


def test_cells_hold_every_test_with_what_it_recorded() -> None:
    tests = list_measured([free(), free("t.py::r", records=(RecordedValue("score", 0.5, "points"),))])
    header, first, second = list_cells(tests)
    assert header == ("test", "latency.ttft_p50", "latency.tpot_p50", "throughput.output", "memory.peak", "recorded")
    assert first == ("t.py::free", "100 ms", "10.0 ms", "66.8 tok/s", "17.3 GiB", "")
    assert second[-1] == "score 0.5 points"
