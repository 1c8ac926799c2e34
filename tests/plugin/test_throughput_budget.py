"""throughput_budget: lower limits on what the requests of a test achieved."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Runs


def test_lower_limits_hold_when_reached_and_fail_when_missed(runs: Runs) -> None:
    result = runs(
        """
        # Far below, as rates of a few requests on a busy host may differ thirtyfold, and are judged by that.
        @pytest.mark.throughput_budget(output="0.0001 tok/s", total="0.0001 tok/s")
        @pytest.mark.throughput_budget(requests="0.0001 req/s", per_user="0.0001 tok/s")
        def test_fast_enough(llm_client):
            llm_client.run(["x"] * 4, concurrency=2, max_tokens=4)

        @pytest.mark.throughput_budget(output="100000 tok/s")
        def test_too_slow(llm_client):
            # A client that is late may not decide it.
            llm_client.generate("x", max_tokens=8, simulate={"ttft": "1 s"})
        """
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines(
        [r"FAILED .*::test_too_slow - BudgetExceeded: throughput.output .* \(.*\) < 100000 tok/s \(margin -.* %\) .*"]
    )


def test_goodput_counts_the_requests_that_met_the_latency_limits(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.latency_budget(e2e_max="1 min")
        @pytest.mark.throughput_budget(goodput="0.0001 req/s")
        def test_good(llm_client):
            llm_client.generate("x", max_tokens=2)

        @pytest.mark.throughput_budget(goodput="0.0001 req/s")
        def test_good_by_what(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        "--llmperf-strict",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["FAILED *::test_good_by_what - *throughput.goodput NOT MEASURED: goodput counts requests that met*"]
    )


def test_without_the_servers_token_counts_no_token_rate_is_claimed(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.throughput_budget(output="0.0001 tok/s")
        def test_uncounted(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        "--llmperf-strict",
        usage="never",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *throughput.output NOT MEASURED: the server gave no token count (usage) *"])
