"""Costs of a report under other limits: they depend on its load, and on its currency."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_llmperf.baselines.calibration.history import MetricKey, collect_histories
from pytest_llmperf.baselines.calibration.suggestions import render_budgets
from pytest_llmperf.baselines.rejudging.currency import find_currency
from pytest_llmperf.baselines.rejudging.judge import judge_again
from pytest_llmperf.baselines.two_reports.changes import compare_tests
from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.budgets.limit import parse_limits, use_currency
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.pricing.prices import Prices
from pytest_llmperf.reports.json_report import render
from pytest_llmperf.reports.report_file import read_report
from pytest_llmperf.reports.result import TestResult
from pytest_llmperf.reports.wire.measurement import measurement_to_wire
from tests.helpers.report_samples import measurement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.baselines.two_reports.changes import ChangeOfNumber
    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.budgets.verdict import Verdict

PRICES = Prices("EUR", (("*", 0.36),))


def limits(cost: str, latency: str = "") -> list[Limit]:
    found = parse_limits("cost", {"per_million_output": cost}, "x")
    found += parse_limits("latency", {"ttft_max": latency}, "x") if latency else []
    return use_currency(found, "EUR")


def stored(prices: Prices = PRICES, *asked: Limit) -> dict[str, Any]:
    measured = replace(measurement(), prices=prices, host_bytes=2**35)
    verdicts = tuple(judge(list(asked), measured))
    wire = measurement_to_wire(measured, [verdict.name for verdict in verdicts])
    return read_report(render([TestResult("t.py::t", verdicts, wire, "passed", 4.0)], {}))


def again(report: dict[str, Any], asked: list[Limit]) -> Verdict:
    return judge_again(asked, report["tests"][0], None)[0]


def test_another_limit_is_judged_in_the_currency_of_the_report() -> None:
    report = stored()
    assert find_currency(report["metrics"]) == "EUR"
    found = again(report, limits("9 EUR"))
    assert found.status is Status.PASS
    assert found.measured_text == "1.50 EUR"
    assert again(report, limits("0.01 EUR")).status is Status.FAIL


def test_another_latency_limit_that_the_load_breaks_makes_the_cost_invalid() -> None:
    met = limits("9 EUR", "1 s")
    report = stored(PRICES, *met)
    assert again(report, met).status is Status.PASS
    assert again(report, met).how.count("at a load that meets") == 1
    assert again(report, limits("9 EUR", "1 ms")).status is Status.INVALID


def test_a_report_without_prices_has_no_costs() -> None:
    wire = measurement_to_wire(measurement())
    report = read_report(render([TestResult("t.py::t", (), wire, "passed", 4.0)], {}))
    assert find_currency(report["metrics"]) == ""
    assert again(report, limits("9 EUR")).status is Status.NOT_MEASURED


def test_limits_are_suggested_in_the_currency_of_the_runs() -> None:
    reports = [stored(replace(PRICES, per_hour=(("*", 0.36 + at / 1000),)), *limits("9 EUR")) for at in range(5)]
    history = collect_histories(reports)[MetricKey("t.py::t", "", "cost.per_million_output")]
    text, count = render_budgets([history], ["of 5 runs"], relative=False)
    assert count == 1
    assert 'cost.per_million_output = "' in text
    assert ' EUR"' in text
    assert "currency" not in text


def compare_costs(old: Mapping[str, Any], new: Mapping[str, Any], limit: float | None = None) -> ChangeOfNumber:
    metrics = (old["metrics"], new["metrics"])
    found = compare_tests(old["tests"][0], new["tests"][0], limit=limit, everything=True, metrics=metrics)
    return next(number for number in found.numbers if number.name == "cost.per_million_output")


def test_amounts_in_two_currencies_are_not_compared() -> None:
    change = compare_costs(stored(), stored(replace(PRICES, currency="USD")))
    assert (change.share, change.old, change.quantity.base) == (None, None, "USD")
    assert change.invalid == "A has it in EUR and B in USD: amounts in two currencies cannot be compared"
    assert compare_costs(stored(), stored(replace(PRICES, currency="USD")), 0.1).status is Status.INVALID


def test_limits_are_suggested_in_the_currency_of_the_newest_runs() -> None:
    runs = [stored(), *(stored(replace(PRICES, currency="USD")) for _ in range(3))]
    history = collect_histories(runs)[MetricKey("t.py::t", "", "cost.per_million_output")]
    assert (history.runs, history.quantity.base) == (3, "USD")


def test_two_reports_are_compared_in_their_currency() -> None:
    old, new = stored(), stored(replace(PRICES, per_hour=(("*", 0.72),)))
    change = compare_costs(old, new)
    assert change.quantity.base == "EUR"
    assert change.share is not None
    assert round(change.share, 6) == 1.0
