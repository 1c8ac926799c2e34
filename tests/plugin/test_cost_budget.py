"""cost_budget: prices in llmperf.toml, limits in their currency, and what stands there without a price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs

SOURCE = """
@pytest.mark.latency_budget(e2e_max="1 min")
@pytest.mark.cost_budget(per_million_output="900 EUR", total="1 EUR", idle_month="9000 EUR")
def test_cheap(llm_client):
    assert llm_client.run(["x"] * 4, max_tokens=8)

@pytest.mark.cost_budget(total="0.00000001 EUR")
def test_dear(llm_client):
    assert llm_client.generate("x", max_tokens=2).text

@pytest.mark.latency_budget(e2e_max="1 us")
@pytest.mark.cost_budget(per_million_output="900 EUR")
def test_overloaded(llm_client):
    assert llm_client.generate("x", max_tokens=4, simulate={"ttft": "1 s"}).text

@pytest.mark.cost_budget(total="1 USD")
def test_in_another_currency(llm_client):
    pass

def test_in_the_file(llm_client):
    assert llm_client.generate("x", max_tokens=2).text
"""
PRICES = """
[prices.per_hour]
"CPU *" = "3.60 EUR"

[[budget]]
tests = "*test_in_the_file"
cost.total = "1 EUR"
"""


def test_costs_are_held_against_their_budgets_at_the_prices_of_the_file(runs: Runs, pytester: pytest.Pytester) -> None:
    (pytester.path / "llmperf.toml").write_text(PRICES, encoding="utf-8")
    result = runs(SOURCE, "--llmperf-report=out.json", "--llmperf-strict")
    result.assert_outcomes(passed=2, failed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*test_in_another_currency - *total='1 USD' is in USD, but the prices in llmperf.toml are in EUR: *",
        ]
    )
    report = read_report(pytester.path / "out.json")
    found = {(test["nodeid"].rpartition("::")[2], v["name"]): v for test in report["tests"] for v in test["verdicts"]}
    assert {place: one["status"] for place, one in found.items() if place[1].startswith("cost.")} == {
        ("test_cheap", "cost.per_million_output"): "PASS",
        ("test_cheap", "cost.total"): "PASS",
        ("test_cheap", "cost.idle_month"): "PASS",
        ("test_dear", "cost.total"): "FAIL",
        ("test_overloaded", "cost.per_million_output"): "INVALID",
        ("test_in_the_file", "cost.total"): "PASS",
    }
    assert found["test_overloaded", "cost.per_million_output"]["reason"].startswith("measured at a load that breaks")
    assert {one["unit"] for place, one in found.items() if place[1].startswith("cost.")} == {"EUR"}
    assert report["metrics"]["cost.total"]["unit"] == "EUR"


def test_without_a_price_a_cost_is_not_measured(runs: Runs) -> None:
    result = runs(SOURCE, "-k", "dear")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*cost.total NOT MEASURED: llmperf.toml states no prices: write [[]prices] with per_hour*"]
    )
