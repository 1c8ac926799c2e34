"""Idle memory is what models hold while they are loaded and unasked: all of them together, and each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from tests.conftest import Runs

MIB = 2**20
SUITE = """
    import json
    from urllib.request import Request, urlopen

    @pytest.fixture(scope="module")
    def other(llm_engine_factory):
        return llm_engine_factory("simulated", model="small", args={"memory": "32 MiB"})

    @pytest.mark.memory_budget(idle="1 GiB")
    def test_both_are_loaded(llm_client, llm_client_factory, other):
        assert llm_client.generate("x", max_tokens=2).text
        assert llm_client_factory(other).generate("x", max_tokens=2).text

    @pytest.mark.memory_budget(idle="8 MiB", engine="simulated:large")
    def test_one_holds_too_much(llm_client, other):
        other.sleep()

    def test_it_is_not_measured_where_nothing_limits_it(llm_client, llm_perf):
        assert "a test that limits it" in llm_perf.read("memory.idle").reason

    @pytest.mark.memory_budget(idle="1 GiB", unloaded="1 GiB")
    def test_it_falls_asleep(llm_engine, llm_perf):
        llm_engine.sleep()
        assert llm_perf.read("memory.idle").value - llm_perf.read("memory.unloaded").value > 40 * 2**20

    @pytest.mark.memory_budget(idle="1 GiB")
    def test_it_is_asked_when_it_falls_asleep(llm_engine, llm_client, llm_perf):
        body = {"model": llm_client.model, "prompt": "x", "stream": True, "max_tokens": 20_000}
        with urlopen(Request(f"{llm_client.base_url}/completions", json.dumps(body).encode())) as answer:
            answer.readline()
            llm_engine.sleep()
            assert llm_perf.read("memory.idle").reason == "a request was running when the test unloaded an engine"

    @pytest.mark.memory_budget(idle="1 GiB")
    def test_one_slept_before(llm_client, llm_engine_factory, other):
        pass

    @pytest.mark.memory_budget(idle="1 GiB")
    def test_one_that_it_does_not_name_slept_before(llm_client, llm_engine_factory):
        pass
"""


@pytest.fixture
def tests(runs: Runs, pytester: pytest.Pytester) -> dict[str, Any]:
    """What the report says of each test of the suite, by its name."""
    result = runs(SUITE, "--llmperf-model=large", "--llmperf-report=out.json", memory="64 MiB")
    result.assert_outcomes(passed=6, failed=1)
    listed = read_report(pytester.path / "out.json")["tests"]
    return {test["nodeid"].partition("::test_")[2].partition("[")[0]: test for test in listed}


def test_idle_memory_needs_all_models_loaded_and_none_asked(tests: dict[str, Any]) -> None:
    both = tests["both_are_loaded"]["measurement"]
    idle = {part["engine"]["model"]: part["readings"]["memory.idle"]["value"] for part in both["parts"]}
    assert idle["large"] - idle["small"] == pytest.approx(32 * MIB, abs=8 * MIB)
    assert both["readings"]["memory.idle"]["value"] == pytest.approx(sum(idle.values()), rel=0.02)

    (verdict,) = tests["one_holds_too_much"]["verdicts"]
    assert verdict["status"] == "FAIL"
    assert verdict["measured"] > 64 * MIB
    assert [verdict["status"] for verdict in tests["it_falls_asleep"]["verdicts"]] == ["PASS", "PASS"]
    assert [verdict["status"] for verdict in tests["it_is_asked_when_it_falls_asleep"]["verdicts"]] == ["INVALID"]
    without = tests["one_that_it_does_not_name_slept_before"]
    assert [verdict["status"] for verdict in without["verdicts"]] == ["PASS"]
    assert ["memory.idle" in part["readings"] for part in without["measurement"]["parts"]] == [True, False]
    (verdict,) = tests["one_slept_before"]["verdicts"]
    assert verdict["status"] == "NOT MEASURED"
    assert verdict["reason"].startswith("not all models of the test were loaded: simulated")
