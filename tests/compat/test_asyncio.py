"""pytest-asyncio: asynchronous tests are measured, repeated and failed like all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.report_file import read_report
from tests.conftest import ASYNCIO

if TYPE_CHECKING:
    from tests.conftest import Runs

pytest.importorskip("pytest_asyncio")


def test_a_broken_budget_fails_an_asynchronous_test(runs: Runs, workers: tuple[str, ...]) -> None:
    result = runs(
        """
        import asyncio

        @pytest.mark.asyncio
        @pytest.mark.memory_budget(peak="1 MiB")
        async def test_over(llm_client):
            await asyncio.gather(*(llm_client.agenerate("x", max_tokens=2) for _ in range(3)))
        """,
        *ASYNCIO,
        *workers,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["requests * 3 sent, 0 failed*"])
    result.stdout.fnmatch_lines(["FAILED *BudgetExceeded: memory.peak *"])


def test_rounds_run_the_coroutine_again(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        """
        import pytest_asyncio

        @pytest_asyncio.fixture
        async def prompt():
            return "x"

        @pytest.mark.asyncio
        @pytest.mark.latency_budget(e2e_max="1 min")
        async def test_inside(llm_client, prompt):
            assert (await llm_client.achat(prompt, max_tokens=2)).text
        """,
        *ASYNCIO,
        "--llmperf-rounds=3",
        "--llmperf-warmup=1",
        "--llmperf-report=out.json",
    )
    result.assert_outcomes(passed=1)
    [test] = read_report(pytester.path / "out.json")["tests"]
    assert test["measurement"]["requests"]["total"] == 3


def test_blocking_calls_work_inside_a_running_loop(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.asyncio
        async def test_inside(llm_client):
            assert llm_client.generate("x", max_tokens=2).text
            assert len(llm_client.run(["x", "y"], concurrency=2, max_tokens=2)) == 2
        """,
        *ASYNCIO,
    )
    result.assert_outcomes(passed=1)
