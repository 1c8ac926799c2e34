"""How a broken budget is shown: one line in the summary, a table with the evidence below the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

OVER = """
@pytest.mark.memory_budget(peak="1 MiB", growth="1 GiB")
@pytest.mark.latency_budget(e2e_max="1 min")
def test_over(llm_client):
    llm_client.generate("x", max_tokens=8)
"""


def test_the_table_shows_budget_limit_measured_margin_verdict_and_a_timeline(runs: Runs) -> None:
    result = runs(OVER, memory_per_request="30 MiB", ttft="150 ms")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- llmperf -*",
            "budget * measured * limit * margin * verdict",
            "memory.peak * MiB * 1 MiB * % * FAIL",
            "latency.e2e_max *s * 1 min * % * PASS",
            "test * test_it.py:4",
            "why * memory.peak * MiB > 1 MiB *",
            "how * memory.peak: largest sample of the engine's memory during the test; *",
            "memory *█* from * MiB to * MiB over *; * before;*",
            "* samples, at most * apart",
            "requests * 1 sent, 0 failed, all streamed; tokens: 8 output*",
            "engine * simulated 1, simulated, on CPU *",
        ]
    )
    # Where this line is broken depends on the name of the processor.
    assert ", started in " in " ".join(result.stdout.str().split())


def test_the_failure_is_one_line_without_a_traceback(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    result = runs(OVER)
    start = next(number for number, line in enumerate(result.outlines) if "short test summary info" in line)
    # CI=true shows whole messages: one of more lines would spill into the summary.
    line, _totals = result.outlines[start + 1 :]
    assert line.startswith("FAILED test_it.py::test_over - BudgetExceeded: memory.peak ")
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*pytest_llmperf/*.py:*")


@pytest.mark.parametrize("style", ["auto", "long", "short", "line", "native", "no"])
def test_the_table_survives_show_capture_no_under_every_style_but_no(runs: Runs, style: str) -> None:
    result = runs(OVER, "--show-capture=no", f"--tb={style}")
    result.assert_outcomes(failed=1)
    shown = any("memory.peak" in line and "FAIL" in line and "why" not in line for line in before_summary(result))
    # pytest 8 reduces a failure to one line under --tb=line, whatever was added to it.
    assert shown is (style != "no" and (style, pytest.version_tuple[0]) != ("line", 8))


def before_summary(result: pytest.RunResult) -> list[str]:
    return "\n".join(result.outlines).split("= llmperf =")[0].splitlines()


def test_a_test_that_fails_by_itself_keeps_its_failure_and_gets_the_table_too(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(peak="1 MiB")
        def test_wrong(llm_client):
            answer = llm_client.generate("x", max_tokens=8)
            assert answer.text == "something else"
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *assert*something else*", "*- llmperf -*", "memory.peak * FAIL"])
    result.stdout.fnmatch_lines(["FAILED test_it.py::test_wrong - *something else*"])
    result.stdout.no_fnmatch_line("*BudgetExceeded*")


def test_several_broken_budgets_are_counted_in_the_line_and_listed_in_the_table(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(peak="1 MiB", host_peak="2 MiB")
        def test_over(llm_client):
            llm_client.generate("x", max_tokens=2)
        """
    )
    result.stdout.fnmatch_lines(["memory.*peak * FAIL", "memory.*peak * FAIL"])
    result.stdout.fnmatch_lines(["FAILED *BudgetExceeded: memory.*peak * (and 1 more)"])


def test_a_failure_outside_the_call_gets_no_table(runs: Runs) -> None:
    result = runs(
        """
        @pytest.fixture
        def broken():
            raise RuntimeError("no luck")

        @pytest.mark.memory_budget(peak="1 GiB")
        def test_never_runs(llm_client, broken):
            pass
        """
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*RuntimeError: no luck*"])
    result.stdout.no_fnmatch_line("memory.peak*")
