"""A metric that a project registers is limited, judged and reported like one of the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from pytest_llmperf.reports.json_report import read_schema
from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from tests.conftest import Runs

CONFTEST = (Path(__file__).parents[2] / "examples" / "own_metric" / "conftest.py").read_text(encoding="utf-8")
SOURCE = """
@pytest.mark.memory_budget(mean="1 GiB")
@pytest.mark.latency_budget(longest_gap_max="1 min", longest_gap_p50="1 min")
def test_inside(llm_client, llm_perf):
    llm_client.generate("x", max_tokens=4)
    assert llm_perf.measurement.memory is not None

@pytest.mark.memory_budget(mean="1 MiB")
def test_beyond(llm_client):
    llm_client.generate("x", max_tokens=4)

@pytest.mark.memory_budget(mean="1 GiB")
def test_without_an_engine():
    pass
"""


@pytest.fixture
def own(runs: Runs, pytester: pytest.Pytester) -> Runs:
    """Runs in processes of their own, because a metric stays registered for as long as its process."""
    pytester.makeconftest(CONFTEST)
    return runs


def verdicts(report: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {
        (test["nodeid"].partition("::")[2], verdict["name"]): verdict["status"]
        for test in report["tests"]
        for verdict in test["verdicts"]
    }


def check_and_read(path: Path) -> dict[str, Any]:
    jsonschema.Draft202012Validator(read_schema()).validate(json.loads(path.read_text(encoding="utf-8")))
    return read_report(path)


def test_it_is_judged_and_in_every_report(own: Runs, pytester: pytest.Pytester) -> None:
    result = own.in_subprocess(SOURCE, "--llmperf-report=out.json", "--llmperf-report=out.md", memory="20 MiB")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["FAILED *::test_beyond - BudgetExceeded: memory.mean * MiB > 1 MiB *"],
    )
    report = check_and_read(pytester.path / "out.json")
    assert verdicts(report) == {
        ("test_inside", "memory.mean"): "PASS",
        ("test_inside", "latency.longest_gap_max"): "PASS",
        ("test_inside", "latency.longest_gap_p50"): "NOT MEASURED",
        ("test_beyond", "memory.mean"): "FAIL",
        ("test_without_an_engine", "memory.mean"): "NOT MEASURED",
    }
    readings = report["tests"][0]["measurement"]["readings"]
    assert report["metrics"]["memory.mean"] == {
        "unit": "B",
        "better": "lower",
        "formula": "mean of the samples of the engine's host memory",
    }
    assert readings["memory.mean"]["value"] > 20 * 2**20
    assert readings["latency.longest_gap_max"]["samples"] == 1
    text = (pytester.path / "out.md").read_text(encoding="utf-8")
    assert "`memory.mean`" in text
    assert "mean of the samples of the engine's host memory" in text


def test_it_is_in_the_help_of_its_marker(own: Runs) -> None:
    result = own.in_subprocess("", "--markers")
    result.stdout.fnmatch_lines(
        [
            "@pytest.mark.memory_budget(*, offload, mean, device=GLOB, *",
            "@pytest.mark.latency_budget(*, longest_gap_pNN, *",
        ]
    )


def test_it_is_in_what_a_mistaken_marker_is_told(own: Runs) -> None:
    result = own.in_subprocess("@pytest.mark.memory_budget(meen='1 GiB')\ndef test_it():\n    pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*unknown key 'meen'; it takes *, offload, mean, device, engine*"])


def test_it_is_limited_in_the_file_of_budgets(own: Runs, pytester: pytest.Pytester) -> None:
    (pytester.path / "llmperf.toml").write_text('[[budget]]\ntests = "*"\nmemory.mean = "1 MiB"\n', encoding="utf-8")
    result = own.in_subprocess("def test_it(llm_client):\n    llm_client.generate('x', max_tokens=2)")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *: memory.mean * > 1 MiB *"])


def test_a_controller_of_workers_that_does_not_know_it_reports_it(
    runs: Runs, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The conftest.py of a folder below the root is read by the workers alone."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    folder = pytester.mkpydir("below")
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "test_below.py").write_text("import pytest\n" + SOURCE, encoding="utf-8")
    result = runs.in_subprocess("", "-n1", "--llmperf-report=out.json")
    result.assert_outcomes(passed=2, failed=1)
    statuses = verdicts(check_and_read(pytester.path / "out.json"))
    assert statuses["test_beyond", "memory.mean"] == "FAIL"


def test_one_whose_function_raises_costs_no_other_budget(runs: Runs, pytester: pytest.Pytester) -> None:
    broken = CONFTEST.replace("    levels = [", "    raise KeyError('two\\nlines')\n    levels = [")
    assert broken != CONFTEST
    broken = broken.replace("return [max(request.chunk_gaps)]", "return [1 / 0]")
    pytester.makeconftest(broken)
    source = """
    @pytest.mark.memory_budget(host_peak="1 GiB", mean="1 GiB")
    @pytest.mark.latency_budget(longest_gap_max="1 min")
    def test_limited(llm_client):
        llm_client.generate("x", max_tokens=4)

    @pytest.mark.memory_budget(host_peak="1 GiB")
    def test_not_limited(llm_client):
        llm_client.generate("x", max_tokens=4)
    """
    result = runs.in_subprocess(source, "--llmperf-strict", "--llmperf-report=out.json")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_limited - NoVerdict: *INVALID: its function raised *"])
    report = check_and_read(pytester.path / "out.json")
    assert verdicts(report) == {
        ("test_limited", "latency.longest_gap_max"): "INVALID",
        ("test_limited", "memory.host_peak"): "PASS",
        ("test_limited", "memory.mean"): "INVALID",
        ("test_not_limited", "memory.host_peak"): "PASS",
    }
    for test in report["tests"]:
        reasons = {name: why for why, names in test["measurement"]["missing"].items() for name in names}
        assert "KeyError: 'two\\nlines' (" in reasons["memory.mean"]
        assert "ZeroDivisionError: division by zero (" in reasons["latency.longest_gap"]
