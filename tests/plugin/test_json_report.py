"""--llmperf-report=out.json: everything that was measured and judged, in the shape of the schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.reports.json_report import read_schema
from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runs

SOURCE = """
@pytest.mark.memory_budget(peak="2 GiB", kv_cache="1 GiB")
@pytest.mark.latency_budget(e2e_max="1 min", ttft_p95="1 s")
def test_inside(llm_client, llm_perf):
    llm_client.generate("x", max_tokens=4)
    llm_perf.record("infinite", float("inf"), "points")

@pytest.mark.memory_budget(peak="0 B")
def test_beyond(llm_client):
    with pytest.raises(Exception):
        llm_client.generate("x", max_tokens=4, simulate={"error": True})

@pytest.mark.memory_budget(peak="1 MiB")
def test_without_an_engine():
    pass

def test_without_budgets(llm_client):
    llm_client.generate("x", max_tokens=4)
"""


def load(path: Path) -> dict[str, Any]:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator(read_schema()).validate(json.loads(path.read_text(encoding="utf-8")))
    return read_report(path)


def test_it_holds_every_measured_test_and_is_valid_under_its_schema(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(SOURCE, "--llmperf-report=reports/out.json")
    content = load(pytester.path / "reports" / "out.json")
    result.stdout.fnmatch_lines(["report: */reports/out.json"])
    outcomes = {test["nodeid"].partition("::")[2]: test["outcome"] for test in content["tests"]}
    assert outcomes == {
        "test_inside": "passed",
        "test_beyond": "passed",
        "test_without_an_engine": "passed",
        "test_without_budgets": "passed",
    }
    statuses = [verdict["status"] for test in content["tests"] for verdict in test["verdicts"]]
    assert statuses.count("NOT MEASURED") == 3
    assert content["counts"]["INVALID"] == 1
    session = content["session"]
    assert session["strict"] is False
    assert session["command_line"][0] == "pytest"
    assert "--llmperf-report=reports/out.json" in session["command_line"]
    assert session["started"] <= content["created"]
    assert session["git"] is None or len(session["git"]["commit"]) >= 40
    assert session.keys() >= {"host", "kernel", "driver", "cuda"}


def test_a_run_without_results_gives_an_empty_report(runs: Runs, pytester: pytest.Pytester) -> None:
    runs.plain(SOURCE, "--llmperf-report=out.json", "-k", "nothing")
    assert load(pytester.path / "out.json")["tests"] == []


def test_a_report_that_cannot_be_written_fails_the_run_and_not_the_tests(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        """
        import os, pathlib

        def test_in_the_way(llm_engine):
            pathlib.Path("reports").write_text("a file where the folder should be")
        """,
        "--llmperf-report=out.html",
        "--llmperf-report=reports/out.json",
    )
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["the report */reports/out.json could not be written: *"])
    assert '<h1 class="fail">Failed: 1 error of the run' in (pytester.path / "out.html").read_text(encoding="utf-8")
