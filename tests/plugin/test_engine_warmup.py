"""The warm-up of an engine: one request after each start, which no test counts, and none where the start is tested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs

# Which of these meet a cold engine: the one that limits startup, and those that start the engine themselves.
SOURCE = """
@pytest.mark.latency_budget(e2e_max="1 min")
@pytest.mark.memory_budget(growth="1 GiB")
def test_first(llm_client):
    llm_client.generate("x", max_tokens=2)

def test_restarts(llm_engine, llm_client_factory):
    llm_engine.restart()
    assert llm_engine.warmup_time is None
    llm_client_factory(llm_engine).generate("x", max_tokens=2)
    llm_engine.restart()

@pytest.mark.latency_budget(startup="1 min")
def test_of_the_start(llm_client):
    llm_client.generate("x", max_tokens=2)

def test_next(llm_client):
    llm_client.generate("x", max_tokens=2)

@pytest.fixture
def fresh(llm_engine):
    llm_engine.restart()

def test_with_a_fresh_one(fresh, llm_client):
    llm_client.generate("x", max_tokens=2)

def test_last(llm_engine, llm_client):
    llm_client.generate("x", max_tokens=2)
    llm_engine.sleep()
    llm_engine.wake()

def test_after_a_wake_up(llm_client):
    llm_client.generate("x", max_tokens=2)
"""


def test_each_start_has_one_before_the_first_test_that_does_not_test_the_start(
    runs: Runs, pytester: pytest.Pytester
) -> None:
    result = runs(SOURCE, "--llmperf-report=out.json", first_request="100 ms")
    result.assert_outcomes(passed=7)
    tests = read_report(pytester.path / "out.json")["tests"]
    found: dict[str, Any] = {test["nodeid"].partition("::")[2]: test["measurement"] for test in tests}
    assert {name: one["engine"]["warmup_seconds"] is not None for name, one in found.items()} == {
        "test_first": True,
        "test_restarts": False,
        "test_of_the_start": False,
        "test_next": True,
        "test_with_a_fresh_one": False,
        "test_last": True,
        "test_after_a_wake_up": True,
    }
    # The first request of an engine takes 100 ms longer, and so does a cold test; no test has one request more.
    assert found["test_first"]["engine"]["warmup_seconds"] >= 0.1
    for cold in ("test_restarts", "test_of_the_start", "test_with_a_fresh_one"):
        assert found[cold]["readings"]["latency.ttft_max"]["value"] >= 0.1
    assert {one["requests"]["total"] for one in found.values()} == {1}
    assert result.stdout.str().count("simulated: warmed up by one request in ") == 3
    result.stdout.re_match_lines([r"engine warm-up: simulated [\d.]+ m?s.*"])


def test_one_that_fails_is_told_in_one_line_and_may_be_left_out(runs: Runs) -> None:
    source = """
        @pytest.mark.latency_budget(e2e_max="1 min")
        def test_it(llm_client):
            llm_client.generate("x", max_tokens=2, simulate={"error": False})
    """
    result = runs(source, "--llmperf-strict", error_every="1")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["warning: simulated: its warm-up request failed, *: HTTP 500*simulated failure*"])
    off = runs(source, "--llmperf-no-engine-warmup", error_every="1")
    off.assert_outcomes(passed=1)
    off.stdout.no_fnmatch_line("*warm*")
