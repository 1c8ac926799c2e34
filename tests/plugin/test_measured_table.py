"""What a run without budgets shows: the numbers, what tests recorded, and how to turn them into limits."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs

SOURCE = """
def test_free(llm_client, llm_perf):
    assert llm_client.generate("x", max_tokens=4).text
    llm_perf.record("accuracy", 0.5, "1")

@pytest.mark.latency_budget(e2e_max="1 min")
def test_limited(llm_client, llm_perf):
    assert llm_client.generate("x", max_tokens=4).text
    llm_perf.record("score", 7, "points")

def test_without_an_engine():
    pass
"""
SUGGEST = "limits for these: pytest --llmperf-calibrate=10, then pytest-llmperf suggest"


def test_the_numbers_of_tests_without_budgets_stand_in_every_report(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(SOURCE, "--llmperf-report=out.md", "--junitxml=out.xml")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "measured:*",
            "test_it.py::test_free *s *s * tok/s * MiB",
            "  accuracy 0.5",
            "test_it.py::test_limited",
            "  score 7 points",
            SUGGEST,
            "",
            "*latency.e2e_max * PASS",
        ]
    )
    markdown = (pytester.path / "out.md").read_text(encoding="utf-8")
    assert "| `test_it.py::test_free` |" in markdown
    assert "| accuracy 0.5 |" in markdown
    cases = {one.get("name"): one for one in ElementTree.parse(pytester.path / "out.xml").iter("testcase")}
    free, limited = (
        {one.get("name"): one.get("value") for one in cases[name].iterfind("properties/property")}
        for name in ("test_free", "test_limited")
    )
    assert free["llmperf.recorded.accuracy"] == "0.5"
    assert str(free["llmperf.throughput.output"]).endswith(" tok/s")
    assert limited["llmperf.recorded.score"] == "7 points"
    assert "llmperf.throughput.output" not in limited


def test_the_option_shows_all_tests_or_none(runs: Runs) -> None:
    everything = runs(SOURCE, "--llmperf-table").stdout
    everything.fnmatch_lines(["test_it.py::test_free * tok/s *", "test_it.py::test_limited * tok/s *", SUGGEST])
    nothing = runs(SOURCE, "-o", "llmperf_table=false").stdout
    nothing.no_fnmatch_line("measured:*")
    nothing.no_fnmatch_line(SUGGEST)
    nothing.fnmatch_lines(["budgets: 1 PASS"])
