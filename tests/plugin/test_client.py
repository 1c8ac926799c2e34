"""llm_client: what goes through it belongs to the test, from blocking and from asynchronous test bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import ASYNCIO

if TYPE_CHECKING:
    from tests.conftest import Runs


def test_blocking_calls_are_measured(runs: Runs) -> None:
    result = runs(
        """
        def test_calls(llm_client, llm_perf):
            assert llm_client.generate("x", max_tokens=2).text
            assert llm_client.chat("x", max_tokens=2).text
            assert len(llm_client.run(["x"] * 4, concurrency=2, max_tokens=2)) == 4
            assert len(llm_perf.measurement.requests) == 6
            assert llm_client.model == "simulated"
            assert llm_client.base_url.startswith("http://127.0.0.1:")
        """
    )
    result.assert_outcomes(passed=1)


def test_asynchronous_calls_are_measured(runs: Runs) -> None:
    pytest.importorskip("pytest_asyncio")
    result = runs(
        """
        import asyncio

        @pytest.mark.asyncio
        @pytest.mark.latency_budget(e2e_max="1 ms")
        async def test_calls(llm_client, llm_perf):
            calls = llm_client.agenerate("x", max_tokens=4), llm_client.achat("x", max_tokens=4)
            one, two = await asyncio.gather(*calls)
            assert one.text and two.text
            assert len(llm_perf.measurement.requests) == 2
        """,
        *ASYNCIO,
        ttft="500 ms",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *BudgetExceeded: latency.e2e_max * > 1 ms *"])


def test_requests_of_fixtures_do_not_belong_to_the_test(runs: Runs) -> None:
    result = runs(
        """
        @pytest.fixture
        def warmed_up(llm_client):
            llm_client.generate("x", max_tokens=2)
            yield
            llm_client.generate("x", max_tokens=2)

        def test_calls(warmed_up, llm_client, llm_perf):
            llm_client.generate("x", max_tokens=2)
            assert len(llm_perf.measurement.requests) == 1
        """
    )
    result.assert_outcomes(passed=1)


def test_a_failed_request_raises_in_the_test(runs: Runs) -> None:
    result = runs(
        """
        def test_calls(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        error_every="1",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *RequestFailed: POST */completions: HTTP 500*"])
