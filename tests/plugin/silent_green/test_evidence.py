"""A number needs evidence: tokens of one request are not many samples, and a wide interval is no verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from tests.conftest import Runs


@pytest.mark.parametrize("key", ["itl_p99", "itl_p50", "chunk_gap_p90", "tpot_p50", "ttft_p95", "e2e_p50"])
def test_one_long_request_satisfies_no_percentile(runs: Runs, key: str) -> None:
    result = runs(
        f"""
        @pytest.mark.latency_budget({key}="1 min")
        def test_long(llm_client):
            llm_client.generate("x", max_tokens=200)
        """,
        "--llmperf-strict",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"FAILED *latency.{key} NOT MEASURED: * requests, the test gave 1*"])


def test_several_requests_of_one_burst_are_one_round(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        """
        @pytest.mark.throughput_budget(requests="1 req/s")
        def test_burst(llm_client):
            llm_client.run(["x"] * 8, concurrency=8, max_tokens=2)
        """,
        "--llmperf-report=out.json",
    )
    result.assert_outcomes(passed=1)
    report = read_report(pytester.path / "out.json")
    interval = report["tests"][0]["verdicts"][0]["interval"]
    assert (interval["units"], interval["unit"]) == (1, "round")
    assert interval["high"] > 2 * interval["low"]
