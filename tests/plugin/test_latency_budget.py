"""latency_budget: upper limits at a percentile, at the largest value, and on the startup time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Runs


def test_percentiles_and_largest_values_are_judged(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.latency_budget(ttft_p50="1 min", tpot_p50="1 min", e2e_p50="1 min", itl_max="9 s", startup="5 min")
        def test_quick_enough(llm_client):
            llm_client.run(["x"] * 11, concurrency=4, max_tokens=3)

        @pytest.mark.latency_budget(ttft_max="1 ms")
        def test_too_slow(llm_client):
            llm_client.generate("x", max_tokens=1, simulate={"ttft": "1 s"})  # a late client may not decide it
        """,
        ttft="20 ms",
        tpot="30 ms",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["budgets: 5 PASS, 1 FAIL"])
    result.stdout.re_match_lines([r"FAILED .*::test_too_slow - BudgetExceeded: latency.ttft_max \S+ m?s > 1 ms .*"])


def test_a_percentile_of_too_few_requests_is_not_guessed(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.latency_budget(ttft_p95="1 min")
        def test_few(llm_client):
            llm_client.generate("x", max_tokens=1)
        """,
        "--llmperf-strict",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *ttft_p95 NOT MEASURED: *p95 needs 130 requests, the test gave 1"])


def test_an_answer_that_was_not_streamed_has_no_first_token(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.latency_budget(ttft_max="1 min", e2e_max="1 min")
        def test_whole(llm_client):
            llm_client.generate("x", max_tokens=2, stream=False)
        """
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*latency.ttft_max*NOT MEASURED", "*latency.e2e_max*PASS"])
