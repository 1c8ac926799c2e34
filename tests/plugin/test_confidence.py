"""A value too close to its limit is not judged by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from tests.conftest import Runs

# 8 tokens take 0.8 s, which is 10 tok/s, never more, and on a busy host less. The interval of one round is 0.69 to 1.45
# times that, so that each token may come 0.1 s late before the limit is out of reach.
NEAR = """
    @pytest.mark.throughput_budget(output="7 tok/s")
    def test_near(llm_client):
        llm_client.generate("x", max_tokens=8)
"""
STEADY = {"ttft": "100 ms", "tpot": "100 ms"}


def test_one_round_near_its_limit_is_inconclusive_and_passes(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(NEAR, "--llmperf-strict", "--llmperf-report=out.json", **STEADY)
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines(
        [
            r".*throughput\.output +\S+ tok/s \(.* to .*\) .*INCONCLUSIVE",
            r"why: throughput.output .*too close to 7 tok/s to tell with 1 round; about \d+ more would do .*",
            "budgets: 1 INCONCLUSIVE",
        ]
    )
    report = read_report(pytester.path / "out.json")
    interval = report["tests"][0]["verdicts"][0]["interval"]
    assert (interval["units"], interval["unit"]) == (1, "round")
    assert report["session"]["session_noise"] is None


def test_it_fails_where_that_is_asked_for(runs: Runs) -> None:
    result = runs(NEAR, "--llmperf-on-inconclusive=fail", **STEADY)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_near - NoVerdict: throughput.output *INCONCLUSIVE: too close to*"])


def test_rounds_are_units_of_evidence(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.throughput_budget(requests="0.0001 req/s")
        def test_rounds(llm_client):
            llm_client.run(["x", "y"], concurrency=2, max_tokens=4)

        @pytest.mark.throughput_budget(requests="100000 req/s")
        def test_too_slow(llm_client):
            llm_client.run(["x", "y"], concurrency=2, max_tokens=4, simulate={"ttft": "300 ms"})
        """,
        "--llmperf-rounds=4",
        ttft="5 ms",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines([r".*BudgetExceeded: throughput.requests .* req/s \(.* to .*\) < 100000 req/s .*"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--llmperf-on-inconclusive=maybe", "--llmperf-on-inconclusive=maybe is neither pass nor fail"),
        ("--llmperf-session-noise=5", "--llmperf-session-noise="),
        ("--llmperf-session-noise=200%", "--llmperf-session-noise=200% must be below 100 %"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(runs: Runs, option: str, message: str) -> None:
    result = runs("def test_nothing(): pass", option)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: llmperf: {message}*"])
