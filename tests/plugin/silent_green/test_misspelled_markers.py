"""A marker that is a slip of the pen away from one of ours: pytest warns, and the budget would be read by none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.plugin.preflight.marker_names import count_slips, guess_marker

if TYPE_CHECKING:
    from tests.conftest import Runs

OURS = ("memory_budget", "throughput_budget", "latency_budget", "energy_budget", "llm_engines", "llm_cache")
SLIPS = {
    "latency_budgets": "latency_budget",
    "latency_bugdet": "latency_budget",
    "latencybudget": "latency_budget",
    "Latency_Budget": "latency_budget",
    "memory_bugdets": "memory_budget",
    "memory_buget": "memory_budget",
    "throughput_budged": "throughput_budget",
    "enegry_budget": "energy_budget",
    "llm_engine": "llm_engines",
    "llm_cashe": "llm_cache",
}


@pytest.mark.parametrize(("name", "meant"), SLIPS.items())
def test_a_slip_is_told_from_the_marker_that_was_meant(name: str, meant: str) -> None:
    assert guess_marker(name, OURS) == meant


@pytest.mark.parametrize(
    "name", ["token_budget", "budget", "llm", "llm_model", "slow", "parametrize", "time_budget", "llm_case", "latency"]
)
def test_another_word_is_left_alone(name: str) -> None:
    assert guess_marker(name, OURS) == ""


@pytest.mark.parametrize(
    ("one", "other", "slips"),
    [("", "", 0), ("ab", "ba", 1), ("abc", "abc", 0), ("abc", "ac", 1), ("ac", "abc", 1), ("kitten", "sitting", 3)],
)
def test_slips_are_counted(one: str, other: str, slips: int) -> None:
    assert count_slips(one, other) == slips


SOURCE = """
@pytest.mark.latency_budgets(e2e_max="1 ns")
def test_answers(llm_client):
    llm_client.generate("x", max_tokens=2)

@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.memory_bugdet(peak="1 B"))])
def test_parameter(x):
    pass
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_in_a_strict_run_it_is_an_error_of_its_test(runs: Runs, workers: int) -> None:
    if workers:
        pytest.importorskip("xdist")
    result = runs.in_subprocess(SOURCE, "--llmperf-strict", f"-n{workers}" if workers else "-q")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "ERROR *InvalidBudget: test_answers: @latency_budgets is no marker of * @latency_budget is *",
            "ERROR *InvalidBudget: test_parameter?1?: @memory_bugdet is no marker * @memory_budget is *",
        ]
    )


def test_elsewhere_it_is_a_line(runs: Runs) -> None:
    result = runs.in_subprocess(SOURCE)  # pytest itself warns, and in this process warnings are errors
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines_random(["warning: test_answers: @latency_budgets is no marker of pytest-llmperf *"])


def test_a_marker_that_the_project_registers_is_its_own(pytester: pytest.Pytester, runs: Runs) -> None:
    pytester.makeini("[pytest]\nmarkers =\n    latency_budgets(**limits): our own\n    memory_bugdet\n")
    result = runs(SOURCE, "--llmperf-strict")
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*is no marker*")
