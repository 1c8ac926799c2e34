"""--llmperf-rounds and --llmperf-warmup: how often the body of a measured test runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
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
    measurement = read_report(pytester.path / "out.json")["tests"][0]["measurement"]
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


# -------------------------------------------------------------------------------------------------- until it is decided


AUTO = ("--llmperf-rounds=auto", "--llmperf-report=out.json")


def read_test(pytester: pytest.Pytester) -> dict[str, Any]:
    report = read_report(pytester.path / "out.json")
    tests: list[dict[str, Any]] = report["tests"]
    assert len(tests) == 1
    return tests[0]


def test_rounds_go_on_until_a_percentile_has_its_requests(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        """
        @pytest.mark.latency_budget(e2e_p50="1 min")
        def test_median(llm_client):
            llm_client.generate("x", max_tokens=1)
        """,
        *AUTO,
    )
    result.assert_outcomes(passed=1)
    test = read_test(pytester)
    assert test["verdicts"][0]["status"] == "PASS"
    assert 11 <= test["measurement"]["rounds"] <= 29
    # No round is run after the look that decided it.
    assert test["measurement"]["looks"] == test["measurement"]["rounds"]
    assert test["verdicts"][0]["engine_seconds"] == pytest.approx(test["measurement"]["engine_seconds"])
    result.stdout.re_match_lines([r"test +budget .* verdict +engine time", r".*latency\.e2e_p50 .* PASS +[\d.]+ m?s"])


def test_a_budget_that_is_decided_at_once_takes_one_round(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        """
        @pytest.mark.throughput_budget(output="0.001 tok/s")
        def test_far(llm_client):
            llm_client.generate("x", max_tokens=4)
        """,
        *AUTO,
    )
    result.assert_outcomes(passed=1)
    assert read_test(pytester)["measurement"]["rounds"] == 1


def test_a_broken_budget_ends_the_rounds(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        """
        @pytest.mark.throughput_budget(output="1000000 tok/s")
        @pytest.mark.latency_budget(ttft_p99="1 min")
        def test_broken(llm_client):
            llm_client.generate("x", max_tokens=4, simulate={"ttft": "1 s"})
        """,
        *AUTO,
    )
    result.assert_outcomes(failed=1)
    assert read_test(pytester)["measurement"]["rounds"] == 1


@pytest.mark.parametrize("allowance", ["--llmperf-max-rounds=4", "--llmperf-max-seconds=0.001"])
def test_what_cannot_be_decided_ends_with_its_allowance(runs: Runs, pytester: pytest.Pytester, allowance: str) -> None:
    result = runs(
        """
        @pytest.mark.latency_budget(ttft_p99="1 min")
        def test_undecided(llm_client):
            llm_client.generate("x", max_tokens=1)
        """,
        *AUTO,
        allowance,
    )
    result.assert_outcomes(passed=1)
    test = read_test(pytester)
    assert test["verdicts"][0]["status"] == "NOT MEASURED"
    assert test["measurement"]["rounds"] == (4 if "rounds" in allowance else 1)


def test_what_no_round_can_measure_is_not_repeated(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        """
        @pytest.mark.energy_budget(total="1 J")
        def test_without_a_counter(llm_client):
            llm_client.generate("x", max_tokens=1)
        """,
        *AUTO,
    )
    result.assert_outcomes(passed=1)
    assert read_test(pytester)["measurement"]["rounds"] == 1


def test_a_round_that_fails_is_the_last(runs: Runs) -> None:
    result = runs(
        """
        calls = []

        @pytest.mark.latency_budget(e2e_p50="1 min")
        def test_third_time_unlucky(llm_client):
            calls.append(llm_client.generate("x", max_tokens=1))
            assert len(calls) < 3
        """,
        *AUTO,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert 3 < 3*"])
