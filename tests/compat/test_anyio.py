"""anyio's pytest plugin: tests on its asyncio backend are measured and failed like all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

pytest.importorskip("anyio")


def test_a_broken_budget_fails_an_asynchronous_test(runs: Runs, workers: tuple[str, ...]) -> None:
    result = runs(
        """
        import anyio

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.memory_budget(peak="1 MiB")
        async def test_beyond(llm_client):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(llm_client.agenerate, "x")

        @pytest.mark.latency_budget(e2e_max="1 min")
        async def test_inside(llm_client):
            assert (await llm_client.achat("x", max_tokens=2)).text
        """,
        *("-p", "anyio"),
        "--llmperf-rounds=2",
        *workers,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["requests * 6 sent, 0 failed*"])
    result.stdout.fnmatch_lines(["FAILED *BudgetExceeded: memory.peak *"])
