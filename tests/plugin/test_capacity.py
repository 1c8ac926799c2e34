"""llm_client.capacity and sweep inside of tests: verdicts, what other budgets make of them, and the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs

SOURCE = """
from pytest_llmperf import RequestFailed, workload

MIX = workload(prompt_tokens=4, output_tokens=2)

@pytest.mark.latency_budget(ttft_p95="1 min", tpot_p50="1 min")
@pytest.mark.throughput_budget(sustained="100 req/s")
def test_holds(llm_client):
    result = llm_client.capacity(MIX, start="400/s", highest="400/s")
    assert result.rate == result.low > 300
    assert result.high is None

@pytest.mark.latency_budget(ttft_p95="1 ms")
@pytest.mark.throughput_budget(sustained="100 req/s")
def test_broken(llm_client):
    slow = {"simulate": {"ttft": "50 ms"}}
    assert llm_client.capacity(MIX, start="200/s", lowest="200/s", extra_body=slow).rate == 0

@pytest.mark.latency_budget(ttft_p95="1 min")
@pytest.mark.throughput_budget(sustained="200 req/s")
def test_too_short(llm_client):
    llm_client.capacity(MIX, start="200/s", max_requests=100)

@pytest.mark.throughput_budget(sustained="100 req/s")
def test_no_latency_limit(llm_client):
    assert llm_client.capacity(MIX).rate is None

@pytest.mark.latency_budget(ttft_p95="1 min")
@pytest.mark.throughput_budget(sustained="100 req/s")
def test_failing(llm_client):
    with pytest.raises(RequestFailed):
        llm_client.capacity(MIX, start="200/s", extra_body={"simulate": {"error": True}})

@pytest.mark.latency_budget(ttft_p50="1 min")
@pytest.mark.throughput_budget(sustained="100 req/s", requests="1 req/s")
def test_sweep(llm_client):
    result = llm_client.sweep(workload(prompt_tokens=4, output_tokens=2, requests=6), concurrency=[1, 2])
    assert [point.concurrency for point in result.curve] == [1, 2]
    llm_client.run(["a"] * 12)

@pytest.fixture
def searched(llm_client):
    with pytest.raises(ValueError, match="what a fixture sends belongs to no test"):
        llm_client.capacity(MIX)

@pytest.mark.latency_budget(ttft_p50="1 min")
def test_fixture(searched, llm_client):
    llm_client.run(["a"] * 12)
"""


def read_tests(pytester: pytest.Pytester) -> dict[str, Any]:
    report = read_report(pytester.path / "out.json")
    return {test["nodeid"].partition("::")[2]: test for test in report["tests"]}


def test_searches_and_sweeps_have_verdicts_and_stand_in_the_reports(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(SOURCE, "--llmperf-report=out.json", "--llmperf-report=out.html", "--llmperf-report=out.md")
    tests = read_tests(pytester)
    verdicts = {
        name: {verdict["name"].partition(".")[2]: verdict["status"] for verdict in test["verdicts"]}
        for name, test in tests.items()
    }
    assert verdicts == {
        "test_holds": {"sustained": "PASS"},
        "test_broken": {"sustained": "FAIL"},
        "test_too_short": {"sustained": "INCONCLUSIVE"},
        "test_no_latency_limit": {"sustained": "NOT MEASURED"},
        "test_failing": {"sustained": "INVALID"},
        "test_sweep": {"ttft_p50": "PASS", "requests": "PASS", "sustained": "NOT MEASURED"},
        "test_fixture": {"ttft_p50": "PASS"},
    }
    [reason] = [one["reason"] for one in tests["test_no_latency_limit"]["verdicts"]]
    assert "add @pytest.mark.latency_budget(ttft_p95=" in reason
    [held] = tests["test_holds"]["measurement"]["capacities"]
    assert held["conditions"] == ["latency.ttft_p95 ≤ 1 min", "latency.tpot_p50 ≤ 1 min"]
    assert held["bounded"] == "all limits hold at highest=400/s as well"
    assert all(point["values"]["latency.ttft_p95"] > 0 for point in held["curve"])
    assert tests["test_holds"]["measurement"]["requests"]["total"] == 0
    [swept] = tests["test_sweep"]["measurement"]["sweeps"]
    assert [point["requests"] for point in swept["curve"]] == [6, 6]
    assert tests["test_sweep"]["measurement"]["requests"]["total"] == 12
    assert result.ret == 1


def test_two_engines_are_compared_by_what_they_hold(runs: Runs, pytester: pytest.Pytester) -> None:
    source = """
        from pytest_llmperf import workload

        @pytest.mark.latency_budget(ttft_p95="1 min")
        @pytest.mark.throughput_budget(sustained="-90 %")
        def test_it(llm_client):
            llm_client.capacity(workload(prompt_tokens=4, output_tokens=2), start="200/s", max_requests=100)
    """
    engines = ("--llm-engine=new=simulated", "--llm-engine=old=simulated", "--llmperf-against=old")
    runs.plain(source, *engines, "--llmperf-report=out.json").assert_outcomes(passed=1)
    [verdict] = read_tests(pytester)["test_it"]["verdicts"]
    assert (verdict["name"], verdict["status"]) == ("throughput.sustained", "PASS")
