"""energy_budget: where no energy counter is read, it says so instead of passing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Runs

SOURCE = """
@pytest.mark.energy_budget(total="500 J", per_output_token="2 J/tok", mean_power="300 W")
def test_energy(llm_client):
    llm_client.generate("x", max_tokens=2)
"""


def test_energy_is_not_measured_on_a_processor_and_the_reason_is_given(runs: Runs) -> None:
    result = runs(SOURCE)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*energy.total*NOT MEASURED", "budgets: 3 NOT MEASURED"])


def test_under_strict_the_reason_is_the_failure(runs: Runs) -> None:
    result = runs(SOURCE, "--llmperf-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *: energy.total NOT MEASURED: no energy counter is read on CPU *"])
