"""run(workload, until="decided"): a load grows inside of one test until the budgets of the test are decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs

SOURCE = """
from pytest_llmperf import workload

MIX = workload(prompt_tokens=4, output_tokens=1, requests=20)
GROWING = {"concurrency": 4, "until": "decided"}

@pytest.mark.latency_budget(ttft_p50="1 min", ttft_p95="1 min")
def test_closed_loop(llm_client):
    result = llm_client.run(MIX, **GROWING)
    assert 130 <= len(result.requests) <= 200

@pytest.mark.latency_budget(ttft_p90="1 min")
def test_open_loop(llm_client):
    llm_client.run(workload(prompt_tokens=4, output_tokens=1), rate="200/s", duration="100 ms", until="decided")

@pytest.mark.latency_budget(ttft_p50="1 us", ttft_p95="1 min")
def test_broken(llm_client):
    llm_client.run(MIX, **GROWING)

@pytest.mark.memory_budget(peak="2 GiB")
def test_nothing_to_wait_for(llm_client):
    llm_client.run(MIX, **GROWING)

@pytest.mark.latency_budget(ttft_p95="1 min")
def test_not_enough(llm_client):
    llm_client.run(MIX, max_requests=50, **GROWING)

def test_no_budgets(llm_client):
    with pytest.raises(ValueError, match="needs a test with budgets, and this one has none"):
        llm_client.run(MIX, **GROWING)

@pytest.fixture
def sent(llm_client):
    with pytest.raises(ValueError, match="what a fixture sends decides no budget"):
        llm_client.run(MIX, **GROWING)

@pytest.mark.latency_budget(ttft_p50="1 min")
def test_fixture(sent, llm_client):
    llm_client.run(MIX, **GROWING)
"""


def read_tests(pytester: pytest.Pytester) -> dict[str, Any]:
    report = read_report(pytester.path / "out.json")
    return {test["nodeid"].partition("::")[2]: test for test in report["tests"]}


def test_a_load_grows_until_each_budget_is_decided(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(SOURCE, "--llmperf-report=out.json")
    result.assert_outcomes(passed=6, failed=1)
    found = read_tests(pytester)
    assert {name: [v["status"] for v in test["verdicts"]] for name, test in found.items()} == {
        "test_closed_loop": ["PASS", "PASS"],
        "test_open_loop": ["PASS"],
        "test_broken": ["FAIL", "NOT MEASURED"],
        "test_nothing_to_wait_for": ["PASS"],
        "test_not_enough": ["NOT MEASURED"],
        "test_no_budgets": [],
        "test_fixture": ["PASS"],
    }
    closed = found["test_closed_loop"]
    [load] = closed["measurement"]["loads"]
    assert 7 <= len(load["stretches"]) == closed["measurement"]["looks"] <= 10
    assert load["asked"].endswith("until decided")
    p50, p95 = (verdict["engine_seconds"] for verdict in closed["verdicts"])
    assert 0 < p50 < p95 <= closed["measurement"]["engine_seconds"]
    for name in ("test_broken", "test_nothing_to_wait_for"):
        assert found[name]["measurement"]["requests"]["total"] == 20
    assert found["test_not_enough"]["measurement"]["requests"]["total"] == 40
    result.stdout.re_match_lines([r"load +20 prompts .* until decided", r"test +budget .* verdict +engine time"])


def test_looks_of_all_rounds_are_counted_together_and_warm_up_rounds_take_none(
    runs: Runs, pytester: pytest.Pytester
) -> None:
    source = """
        from pytest_llmperf import workload
        sent = []

        @pytest.mark.latency_budget(ttft_p99="1 min")
        def test_far_from_enough(llm_client):
            mix = workload(prompt_tokens=4, output_tokens=1, requests=4)
            sent.append(len(llm_client.run(mix, until="decided").requests))

        def test_counts():
            assert sent == [4, 16, 4]
    """
    options = ("--llmperf-warmup=1", "--llmperf-rounds=2", "--llmperf-max-rounds=4", "--llmperf-report=out.json")
    runs(source, *options).assert_outcomes(passed=2)
    assert read_tests(pytester)["test_far_from_enough"]["measurement"]["looks"] == 3


def test_where_nothing_is_measured_it_is_sent_once(runs: Runs) -> None:
    source = """
        from pytest_llmperf import workload

        @pytest.mark.latency_budget(ttft_p99="1 min")
        def test_once(llm_client):
            mix = workload(prompt_tokens=4, output_tokens=1, requests=4)
            assert len(llm_client.run(mix, until="decided").requests) == 4
    """
    runs(source, "--llmperf-disable").assert_outcomes(passed=1)
