"""What a real engine costs: a load within its latency limits, and a month in which its model stays loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from tests.conftest import Runs

SUITE = """
from pytest_llmperf import workload

@pytest.mark.latency_budget(ttft_max="5 min")
@pytest.mark.cost_budget(per_million_output="100000 EUR", total="10 EUR", idle_month="10000 EUR")
def test_cost(llm_client):
    llm_client.run(workload(prompt_tokens=16, output_tokens=8, requests=8), concurrency=2)
"""


@pytest.mark.usefixtures("llamacpp_installed")
def test_llamacpp(runs: Runs, pytester: pytest.Pytester) -> None:
    (pytester.path / "llmperf.toml").write_text('[prices.per_hour]\n"CPU *" = "0.36 EUR"\n', encoding="utf-8")
    result = runs.plain(SUITE, "--llm-engine=llamacpp", "--llmperf-report=out.json")
    result.assert_outcomes(passed=1)
    (test,) = read_report(pytester.path / "out.json")["tests"]
    costs = {verdict["name"]: verdict for verdict in test["verdicts"] if verdict["name"].startswith("cost.")}
    assert {verdict["status"] for verdict in costs.values()} == {"PASS"}
    assert costs["cost.per_million_output"]["how"].endswith("at a load that meets latency.ttft_max")
    readings = test["measurement"]["readings"]
    per_token = 0.36 / 3600 / readings["throughput.output"]["value"]
    assert costs["cost.per_million_output"]["measured"] == pytest.approx(1e6 * per_token, rel=1e-4)
    assert 0 < costs["cost.idle_month"]["measured"] < 0.36 * 730
