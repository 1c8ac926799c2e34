"""Markers of parameter, function, class and module are merged key by key; the closest wins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs

SOURCE = """
pytestmark = [pytest.mark.memory_budget(peak="1 GiB", growth="1 GiB", host_peak="1 GiB", weights="1 GiB")]

@pytest.mark.memory_budget(peak="2 GiB", growth="2 GiB", host_peak="2 GiB")
class TestBase:
    @pytest.mark.memory_budget(peak="3 GiB", growth="3 GiB")
    @pytest.mark.parametrize("size", [1, pytest.param(2, marks=pytest.mark.memory_budget(peak="4 GiB"))])
    def test_sizes(self, llm_engine, size):
        pass

    def test_plain(self, llm_engine):
        pass

@pytest.mark.memory_budget(peak="5 GiB")
class TestDerived(TestBase):
    pass
"""


def test_the_closest_marker_wins_key_by_key(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(SOURCE, "--llmperf-report=out.json")
    result.assert_outcomes(passed=6)
    tests = read_report(pytester.path / "out.json")["tests"]
    found = {test["nodeid"].partition("::")[2]: limits(test) for test in tests}
    assert found == {
        "TestBase::test_sizes[1]": {"peak": "3 GiB", "growth": "3 GiB", "host_peak": "2 GiB", "weights": "1 GiB"},
        "TestBase::test_sizes[2]": {"peak": "4 GiB", "growth": "3 GiB", "host_peak": "2 GiB", "weights": "1 GiB"},
        "TestBase::test_plain": {"peak": "2 GiB", "growth": "2 GiB", "host_peak": "2 GiB", "weights": "1 GiB"},
        "TestDerived::test_sizes[1]": {"peak": "3 GiB", "growth": "3 GiB", "host_peak": "2 GiB", "weights": "1 GiB"},
        "TestDerived::test_sizes[2]": {"peak": "4 GiB", "growth": "3 GiB", "host_peak": "2 GiB", "weights": "1 GiB"},
        "TestDerived::test_plain": {"peak": "5 GiB", "growth": "2 GiB", "host_peak": "2 GiB", "weights": "1 GiB"},
    }


def limits(test: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {verdict["name"].removeprefix("memory."): verdict["limit_text"] for verdict in test["verdicts"]}
