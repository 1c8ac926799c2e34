"""What cannot be trusted is INVALID: it neither passes nor fails a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Runs


def test_a_failed_request_makes_the_measurement_invalid(runs: Runs) -> None:
    result = runs(
        """
        from pytest_llmperf.traffic.llm_client import RequestFailed

        @pytest.mark.throughput_budget(output="1000000 tok/s")
        @pytest.mark.memory_budget(peak="1 B")
        def test_some_fail(llm_client):
            for number in range(4):
                try:
                    llm_client.generate("x", max_tokens=2)
                except RequestFailed:
                    pass
        """,
        error_every="2",
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["budgets: 2 INVALID"])


def test_under_strict_the_reason_is_the_failure(runs: Runs) -> None:
    result = runs(
        """
        from pytest_llmperf.traffic.llm_client import RequestFailed

        @pytest.mark.throughput_budget(output="0.1 tok/s")
        def test_some_fail(llm_client):
            with pytest.raises(RequestFailed):
                llm_client.generate("x", max_tokens=2)
        """,
        "--llmperf-strict",
        error_every="1",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["FAILED *NoVerdict: throughput.output INVALID: 1 of 1 requests failed, the first with: HTTP 500*"]
    )


def test_a_dead_sampler_makes_memory_invalid_and_is_replaced_for_the_next_test(runs: Runs) -> None:
    result = runs(
        """
        import os, signal, time
        from pytest_llmperf.plugin.session import SESSION

        @pytest.mark.memory_budget(peak="1 B")
        @pytest.mark.latency_budget(e2e_max="1 min")
        def test_loses_its_sampler(llm_client, request):
            sampler = request.config.stash[SESSION].sampler
            os.kill(sampler.pid, signal.SIGKILL)
            while sampler.alive:
                time.sleep(0.01)
            llm_client.generate("x", max_tokens=2)

        @pytest.mark.memory_budget(peak="2 GiB")
        def test_after_it(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        "-Werror",
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["* test_loses_its_sampler * memory.peak * INVALID", "* test_after_it * memory.peak * PASS"]
    )
    result.stdout.fnmatch_lines(["budgets: 2 PASS, 1 INVALID"])
