"""--llmperf-disable: the tests run, nothing is measured or judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs


def test_budgets_are_not_judged_and_tests_run_on_the_engine(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        """
        from pytest_llmperf.plugin.session import SESSION

        @pytest.mark.memory_budget(peak="1 B")
        def test_over(llm_client, request):
            assert llm_client.generate("x", max_tokens=2).text
            assert request.config.stash[SESSION].sampler is None

        def test_looks_at_the_measurement(llm_perf):
            llm_perf.read("memory.peak")
        """,
        "--llmperf-disable",
        "--llmperf-strict",
        "-rs",
    )
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["llmperf: disabled, so nothing is measured or judged"])
    result.stdout.fnmatch_lines(["SKIPPED *nothing is measured under --llmperf-disable"])
    result.stdout.no_fnmatch_line("*budgets: *")


def test_a_bad_marker_is_still_a_mistake(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(peak=1)
        def test_bad(llm_client):
            pass
        """,
        "--llmperf-disable",
    )
    result.assert_outcomes(errors=1)
