"""A page of many tests stays small, and has what matters most of each."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.reports.page.render import render
from pytest_llmperf.reports.result import TestResult
from pytest_llmperf.reports.wire.measurement import measurement_to_wire
from tests.helpers.closed_loop import LIMITS, TIGHT_LIMITS, measure_closed_loop

if TYPE_CHECKING:
    from pytest_llmperf.budgets.limit import Limit

pytestmark = pytest.mark.once

OPTIONS = ["--llm-engine=llamacpp", "--llmperf-strict"]


@pytest.fixture(scope="module")
def kinds() -> tuple[TestResult, TestResult]:
    """A test of 200 requests that held what could be judged, and one that broke a budget."""

    def run(limits: list[Limit], outcome: str) -> TestResult:
        measurement = measure_closed_loop(200)
        verdicts = judge(limits, measurement)
        wire = measurement_to_wire(measurement, [verdict.name for verdict in verdicts])
        return TestResult("tests/test_chat.py::test_chat", tuple(verdicts), wire, outcome, 91.27)

    return run(LIMITS, "passed"), run(TIGHT_LIMITS, "failed")


def write(kinds: tuple[TestResult, TestResult], count: int, each: int) -> str:
    """The page of so many tests; the first and every ``each`` after it breaks a budget."""
    good, bad = kinds
    results = [
        replace(good if at % each else bad, nodeid=f"tests/test_chat.py::test_chat_{at // 10}[prompt-{at % 10}]")
        for at in range(count)
    ]
    return render(results, {"run": {"options": OPTIONS}})


@pytest.mark.parametrize("each", [1, 2, 10, 100])
def test_a_page_of_a_hundred_tests_is_less_than_300_kilobytes(kinds: tuple[TestResult, TestResult], each: int) -> None:
    assert len(write(kinds, 100, each).encode()) < 300_000


def test_a_test_more_adds_its_budgets_and_its_readings(kinds: tuple[TestResult, TestResult]) -> None:
    few, many = (len(write(kinds, count, 10).encode()) for count in (500, 1000))
    assert (many - few) / 500 < 2500


def test_what_is_left_out_of_a_large_page_is_counted_and_the_worst_have_all(
    kinds: tuple[TestResult, TestResult],
) -> None:
    text = write(kinds, 100, 10)
    sections = re.findall(r"<details class=test.*?</details>", text, re.DOTALL)
    assert "<svg" in sections[0]
    assert all("<svg" in section or "data-plots=" in section for section in sections)
    assert all("throughput.output" in section and "<pre>" in section for section in sections)
    reduced = re.search(r"(\d+) of 100 tests have less evidence", text)
    assert reduced is not None
    assert int(reduced[1]) == sum("<h4>Readings</h4>" not in section for section in sections)
    assert "have less evidence" not in write(kinds, 3, 1)
