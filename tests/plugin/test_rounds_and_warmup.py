"""--llmperf-rounds and --llmperf-warmup: how often the body of a measured test runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs

SOURCE = """
calls = {"measured": 0, "unmeasured": 0}

@pytest.mark.latency_budget(e2e_max="1 min")
def test_measured(llm_client):
    calls["measured"] += 1
    llm_client.generate("x", max_tokens=2)

def test_unmeasured(llm_client):
    calls["unmeasured"] += 1

def test_counts():
    assert calls == {"measured": 5, "unmeasured": 1}
"""


def test_warm_up_rounds_are_not_measured_and_other_tests_run_once(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(SOURCE, "--llmperf-rounds=3", "--llmperf-warmup=2", "--llmperf-report=out.json")
    result.assert_outcomes(passed=3)
    measurement = json.loads((pytester.path / "out.json").read_text(encoding="utf-8"))["tests"][0]["measurement"]
    assert measurement["rounds"] == 3
    assert measurement["requests"]["total"] == 3


def test_a_warm_up_that_fails_is_the_failure_of_the_test(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.latency_budget(e2e_max="1 min")
        def test_wrong(llm_client):
            llm_client.generate("x", max_tokens=2)
            assert False, "in the first round"
        """,
        "--llmperf-warmup=1",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *in the first round*"])
    result.stdout.re_match_lines([r"measured  over \d+(\.\d+)? ms"])


def test_all_rounds_are_judged_together(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.latency_budget(e2e_p50="1 min")
        def test_median(llm_client):
            llm_client.generate("x", max_tokens=1)
        """,
        "--llmperf-rounds=11",
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["budgets: 1 PASS"])
