"""Costs of a GPU, end to end: its price per hour, and the energy that its counter gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.report_file import read_report
from tests.gpu.gpu_runs import one_gpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.testing import Scenario
    from tests.gpu.gpu_runs import GpuRuns

    Host = Callable[[Scenario], GpuRuns]

PRICES = """
[prices]
per_kwh = "360 EUR"

[prices.per_hour]
"NVIDIA L4" = "36 EUR"
"""
# 30 W before, 230 W from the first token to the last.
SOURCE = """
@pytest.mark.energy_budget(total="5 kJ")
@pytest.mark.cost_budget(total="1 EUR", per_million_output="90000 EUR", idle_month="30000 EUR")
def test_cost(on_gpu, llm_client):
    on_gpu.set(UUID, power=[(0, 30_000), (time.monotonic_ns(), 230_000)])
    assert llm_client.generate("x", max_tokens=10, simulate={"ttft": "2.2 s"}).text

@pytest.mark.cost_budget(total="1 EUR")
def test_too_short_for_energy(on_gpu, llm_client):
    assert llm_client.generate("x", max_tokens=2).text
"""


def test_a_gpu_costs_its_hours_and_its_energy(gpu_runs: Host) -> None:
    runs = gpu_runs(one_gpu())
    (runs.folder / "llmperf.toml").write_text(PRICES, encoding="utf-8")
    runs(SOURCE).assert_outcomes(passed=2)
    long, short = read_report(runs.folder / "report.json")["tests"]
    found = {verdict["name"]: verdict for verdict in long["verdicts"]}
    assert {name: one["status"] for name, one in found.items()} == dict.fromkeys(found, "PASS")
    joules, seconds = found["energy.total"]["measured"], long["measurement"]["window"]["seconds"]
    assert found["cost.total"]["measured"] == pytest.approx(seconds * 0.01 + joules / 3.6e6 * 360, rel=1e-4)
    # 2 of 24 GiB stay held
    assert found["cost.idle_month"]["measured"] == pytest.approx(36 * 730 * 2 / 24, rel=0.1)
    (unmeasured,) = short["verdicts"]
    assert unmeasured["status"] == "NOT MEASURED"
    assert "the energy is not known: NVIDIA L4" in unmeasured["reason"]
