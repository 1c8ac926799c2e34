"""What a calibration does with runs that end in different ways; the runs themselves are scripted here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.plugin.calibration import calibration
from pytest_llmperf.plugin.calibration.calibration import Calibration, drop_flag
from pytest_llmperf.plugin.calibration.suite_run import SuiteRun
from pytest_llmperf.reports.compact.report import compact_report
from tests.helpers.simulated_sessions import make_entry, make_report, measure_session
from tests.helpers.streams import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GOOD = limits("latency", ttft_p50="1 s")
TIGHT = limits("latency", ttft_p50="1 ms")
Outcome = tuple[int, str, dict[str, Any] | None]


def end(status: int, output: str, asked: Sequence[Any] = GOOD, outcome: str = "passed", seed: int = 0) -> Outcome:
    return status, output, make_report(make_entry(measure_session(seed), asked, outcome))


PASSED = [end(0, "==== 1 passed in 1.50s ====", seed=seed) for seed in range(4)]


@pytest.fixture
def calibrate(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Outcome]], tuple[int, list[str]]]:
    """Calibrates with runs that end as given; gives the status and the lines that were said."""

    def run(outcomes: Sequence[Outcome]) -> tuple[int, list[str]]:
        coming = iter(outcomes)
        said: list[str] = []

        def run_suite(arguments: Sequence[str], _folder: Path) -> SuiteRun:
            status, output, report = next(coming)
            path = next(text.partition("=")[2] for text in arguments if text.startswith("--llmperf-report="))
            if report is not None:
                Path(path).write_text(json.dumps(compact_report(report)), encoding="utf-8")
            return SuiteRun(status, output, 2.0)

        monkeypatch.setattr(calibration, "run_suite", run_suite)
        asked = ["tests", "--llmperf-calibrate=4", "-n2"]
        status = Calibration(len(outcomes), asked, Path.cwd(), said.append, 100).run()
        assert next(coming, None) is None or status
        return status, said

    return run


def test_each_run_is_told_and_then_the_audit(calibrate: Any) -> None:
    status, said = calibrate(PASSED)
    assert status == 0
    assert said[0] == "llmperf: 4 runs of: pytest tests -n2"
    assert said[1] == "llmperf: run 1 of 4: 1 passed in 1.50s; about 6 s left"
    assert said[4] == "llmperf: run 4 of 4: 1 passed in 1.50s"
    assert any("latency.ttft_p50 ≤ 1 s: " in line for line in said[5:])


def test_budgets_that_fail_are_what_it_is_about(calibrate: Any) -> None:
    failed = [end(1, "FAILED t - BudgetExceeded: x\n= 1 failed in 1s =", TIGHT, "failed", seed) for seed in range(3)]
    status, said = calibrate(failed)
    assert status == 0
    assert said[1].startswith(
        "llmperf: run 1 of 3: ended with status 1: 1 failed in 1s; budgets that failed are counted"
    )
    assert said[2] == "  FAILED t - BudgetExceeded: x"
    assert any("would fail a good build in more than 1 %" in line for line in said)


def test_tests_that_fail_by_themselves_make_it_fail(calibrate: Any) -> None:
    broken = end(1, "FAILED t - AssertionError\n= 1 failed in 1s =", GOOD, "failed")
    status, said = calibrate([*PASSED[:2], broken])
    assert status == 1
    assert "1 failed by other than a budget" in "\n".join(said)
    unmeasured = end(1, "= 1 failed, 1 passed in 1s =")
    status, said = calibrate([*PASSED[:2], unmeasured])
    assert status == 1
    assert "what failed was not measured" in "\n".join(said)


@pytest.mark.parametrize(
    ("outcome", "expected", "why"),
    [
        ((4, "ERROR: file not found: tests", None), 4, "it did not end as it should"),
        ((5, "no tests ran in 0.1s", None), 5, "it measured nothing"),
        ((0, "3 skipped in 0.1s", None), 1, "it measured nothing"),
        ((-9, "", None), 1, "it did not end as it should"),
        ((3, "INTERNALERROR", PASSED[0][2]), 3, "it did not end as it should"),
    ],
)
def test_a_run_that_cannot_be_used_ends_it(outcome: Outcome, expected: int, why: str, calibrate: Any) -> None:
    status, said = calibrate([PASSED[0], outcome, PASSED[1]])
    assert status == expected
    assert said[-1].startswith(f"llmperf: no calibration, because run 2 cannot be used: {why}")
    assert not outcome[1] or f"  {outcome[1]}" in said


def test_the_flag_is_dropped_with_its_value() -> None:
    assert drop_flag(["a", "--llmperf-calibrate", "3", "b", "--llmperf-calibrate=4", "-q"]) == ["a", "b", "-q"]
