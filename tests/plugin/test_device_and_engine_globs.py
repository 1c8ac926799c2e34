"""device= and engine=: budgets for some hardware only, and no pass where none applies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Runs

SOURCE = """
@pytest.mark.memory_budget(peak="1 MiB", device="NVIDIA H100*")
@pytest.mark.memory_budget(peak="2 GiB", device="CPU *")
def test_one_applies(llm_client):
    llm_client.generate("x", max_tokens=2)

@pytest.mark.memory_budget(peak="1 MiB", engine="vllm")
@pytest.mark.memory_budget(peak="2 GiB", engine="sim*")
def test_one_engine_applies(llm_client):
    llm_client.generate("x", max_tokens=2)

@pytest.mark.memory_budget(peak="1 MiB", device="NVIDIA H100*")
@pytest.mark.memory_budget(growth="1 MiB", engine="vllm")
def test_none_applies(llm_client):
    llm_client.generate("x", max_tokens=2)
"""


def test_only_the_budgets_for_this_device_and_engine_are_judged(runs: Runs) -> None:
    result = runs(SOURCE)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["budgets: 2 PASS, 1 NO BUDGET"])


def test_a_test_whose_budgets_are_all_for_others_does_not_pass_under_strict(runs: Runs) -> None:
    result = runs(SOURCE, "--llmperf-strict")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.re_match_lines(
        [
            r"FAILED .*::test_none_applies - NoVerdict: NO BUDGET: no budget for simulated on CPU .*; "
            r"the budgets of this test are for .*"
        ]
    )
