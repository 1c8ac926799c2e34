"""Runs without the parts of pytest that people switch off, and with output cut to the bone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from tests.conftest import Runs

SOURCE = """
@pytest.mark.memory_budget(peak="2 GiB")
@pytest.mark.latency_budget(startup="1 min")
def test_inside(llm_client):
    llm_client.generate("x", max_tokens=2)

@pytest.mark.latency_budget(startup="1 us")
def test_beyond(llm_client):
    llm_client.generate("x", max_tokens=2)
"""
OPTIONS = [
    "-p no:terminal",
    "-p no:cacheprovider",
    "-p no:capture",
    "-p no:logging",
    "-p no:junitxml",
    "-p no:xdist",
    "-p no:skipping",
    "-p no:doctest",
    "-s",
    "-q",
    "-qq",
    "-vv",
    "--tb=no",
    "--no-summary",
    "--no-header",
    "-W error",
    "--capture=tee-sys",
    "--color=yes",
    "-x",
]


@pytest.mark.parametrize("options", OPTIONS)
def test_one_test_passes_and_one_fails_whatever_is_switched_off(
    runs: Runs, pytester: pytest.Pytester, options: str
) -> None:
    result = runs(SOURCE, *options.split(), "--llmperf-report=out.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    tests = read_report(pytester.path / "out.json")["tests"]
    found = [(verdict["name"], verdict["status"]) for test in tests for verdict in test["verdicts"]]
    assert [status for name, status in found if name == "latency.startup"] == ["PASS", "FAIL"]
    # A host under load may keep the sampler from a core for so long that memory is INVALID.
    assert [status for name, status in found if name == "memory.peak"] in (["PASS"], ["INVALID"])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_without_the_plugin_nothing_of_it_is_there(runs: Runs) -> None:
    result = runs.plain("def test_plain():\n    pass\n", "-p", "no:llmperf", "-W", "error")
    result.assert_outcomes(passed=1)
    result = runs.plain("def test_plain():\n    pass\n", "-p", "no:llmperf", "--llm-engine=simulated")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_collecting_starts_nothing(runs: Runs) -> None:
    for option in ("--collect-only", "--setup-plan", "--fixtures", "--markers", "--version"):
        result = runs(SOURCE, option)
        assert result.ret == 0
        assert "loading" not in result.stdout.str()
