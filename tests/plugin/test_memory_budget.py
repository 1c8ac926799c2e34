"""memory_budget: a test inside its limits passes, one beyond them fails with the measured number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.engines.simulated.engine import SimulatedInsight

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs


def test_a_test_inside_its_memory_budget_passes_and_one_beyond_it_fails(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(peak="2 GiB", growth="1 GiB", host_peak="2 GiB")
        def test_inside(llm_client):
            assert llm_client.generate("x", max_tokens=4).text

        @pytest.mark.memory_budget(peak="40 MiB")
        def test_beyond(llm_client):
            assert llm_client.generate("x", max_tokens=4).text
        """,
        memory="50 MiB",
    )
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == 1
    result.stdout.re_match_lines(
        [r"FAILED test_it.py::test_beyond - BudgetExceeded: memory.peak [67]\d\.\d MiB > 40 MiB \(margin -.* %\) on .*"]
    )


def test_growth_is_what_a_request_adds_and_peak_includes_it(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(growth="20 MiB")
        def test_grows(llm_client):
            llm_client.generate("x", max_tokens=2)

        @pytest.mark.memory_budget(peak="90 MiB", growth="40 MiB")
        def test_grows_within_limits_that_are_wide_enough(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        memory="10 MiB",
        memory_per_request="30 MiB",
        ttft="250 ms",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines([r"FAILED .*::test_grows - .*: memory.growth (29|3\d)\.\d MiB > 20 MiB .*"])


def test_retained_memory_is_read_after_the_engine_has_settled(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(growth="10 MiB", retained="10 MiB")
        def test_gives_its_memory_back(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        memory_per_request="30 MiB",
        ttft="250 ms",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["memory.growth * FAIL", "memory.retained * PASS", "*level after the test has settled*", "*after it settled*"]
    )


def test_what_the_engine_does_not_state_is_not_measured_and_does_not_fail(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(kv_cache="1 GiB", weights="1 GiB")
        def test_split(llm_client):
            llm_client.generate("x", max_tokens=2)
        """
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*memory.kv_cache*NOT MEASURED", "budgets: 2 NOT MEASURED"])


def test_a_test_without_an_engine_has_no_memory_to_measure(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(peak="1 B")
        def test_no_engine():
            pass
        """,
        "--llmperf-strict",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *: memory.peak NOT MEASURED: the test used no engine"])
    result.stdout.no_fnmatch_line("*ready after*")


PEAK_AND_NOT = """
@pytest.mark.memory_budget(peak="2 GiB")
def test_peak(llm_client):
    llm_client.generate("x", max_tokens=4)

@pytest.mark.memory_budget(growth="2 GiB")
def test_growth(llm_client):
    llm_client.generate("x", max_tokens=4)
"""


def test_a_peak_that_says_nothing_of_the_test_is_warned_of(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedInsight, "peak_caveat", "it takes all of the device")
    # Warnings are errors in the run around this one.
    result = runs(PEAK_AND_NOT, "-W", "default")
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(
        ["test_it.py::test_peak", "*LLMPerfWarning: memory_budget(peak=...): it takes all of the device"]
    )
