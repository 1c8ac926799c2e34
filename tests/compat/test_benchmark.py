"""pytest-benchmark: both on one test; its JSON holds what was measured, and on what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from tests.conftest import Runs

pytest.importorskip("pytest_benchmark")
BENCHMARK = ("-p", "benchmark")


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    # It is by this that pytest-benchmark knows a worker, and these tests may run in one.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


SOURCE = """
def ask(benchmark, llm_client):
    return benchmark.pedantic(llm_client.generate, args=("x",), kwargs={"max_tokens": 2}, rounds=3)

@pytest.mark.memory_budget(peak="2 GiB")
def test_inside(benchmark, llm_client):
    assert ask(benchmark, llm_client).text

@pytest.mark.memory_budget(peak="1 MiB")
def test_beyond(benchmark, llm_client):
    assert ask(benchmark, llm_client).text

@pytest.mark.memory_budget(peak="2 GiB")
def test_wrong(benchmark, llm_client):
    assert ask(benchmark, llm_client).text == "an answer"

def test_plain(benchmark):
    benchmark.pedantic(int, rounds=3)
"""


def saved(pytester: pytest.Pytester) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((pytester.path / "out.json").read_text(encoding="utf-8"))
    return content


def test_its_json_holds_what_each_test_measured_whether_it_passed_or_not(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(SOURCE, *BENCHMARK, "--benchmark-json=out.json", "--llmperf-report=report.json", "-W", "error")
    result.assert_outcomes(passed=2, failed=2)
    content = saved(pytester)
    extra_info = {bench["name"]: bench["extra_info"] for bench in content["benchmarks"]}
    assert extra_info.pop("test_plain") == {}
    found = {name: info["llmperf"] for name, info in extra_info.items()}
    assert {name: info["verdicts"][0]["status"] for name, info in found.items()} == {
        "test_inside": "PASS",
        "test_beyond": "FAIL",
        "test_wrong": "PASS",
    }
    for info in found.values():
        assert info["schema"] == 3
        assert info["requests"]["total"] == 3
        assert info["readings"]["memory.peak"]["unit"] == "B"
        assert info["readings"]["memory.peak"]["value"] == info["verdicts"][0]["measured"]
        assert info["engine"]["name"] == "simulated"
    report = read_report(pytester.path / "report.json")
    assert report["session"].pop("baselines") == []
    assert content["llmperf"] == {key: report[key] for key in ("schema", "session", "counts")}


@pytest.mark.parametrize("elsewhere", [False, True], ids=["on the same device", "on another device"])
def test_comparing_with_a_run_on_another_device_warns(runs: Runs, pytester: pytest.Pytester, elsewhere: bool) -> None:
    chosen = (*BENCHMARK, "-k", "inside")
    runs(SOURCE, *chosen, "--benchmark-save=before").assert_outcomes(passed=1, deselected=3)
    [path] = pytester.path.glob(".benchmarks/*/0001_before.json")
    before = json.loads(path.read_text(encoding="utf-8"))
    if elsewhere:
        before["machine_info"]["llmperf"]["devices"] = [{"name": "NVIDIA L4", "memory_bytes": 24 * 2**30}]
        path.write_text(json.dumps(before), encoding="utf-8")
    # In a process of its own, since in this one each warning is an error.
    result = runs.in_subprocess(SOURCE, *chosen, "--benchmark-compare")
    result.assert_outcomes(passed=1, deselected=3)
    warned = "machine_info is different" in result.stdout.str() + result.stderr.str()
    assert warned == elsewhere


def test_budgets_hold_in_workers_where_benchmarks_are_switched_off(runs: Runs) -> None:
    pytest.importorskip("xdist")
    # In a process of its own, since in this one each warning is an error.
    result = runs.in_subprocess(SOURCE, *BENCHMARK, "-n2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAILED test_it.py::test_beyond - BudgetExceeded: memory.peak *"])
    result.stdout.fnmatch_lines(["budgets: 2 PASS, 1 FAIL"])


def test_rounds_are_those_of_the_fixture_which_can_be_used_once(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        SOURCE, *BENCHMARK, "-k", "inside", "--llmperf-rounds=5", "--llmperf-warmup=1", "--llmperf-report=out.json"
    )
    result.assert_outcomes(passed=1, deselected=3)
    [test] = read_report(pytester.path / "out.json")["tests"]
    assert test["measurement"]["rounds"] == 1
    assert test["measurement"]["requests"]["total"] == 3


def test_a_suite_without_an_engine_has_the_json_it_always_had(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs.plain(SOURCE, *BENCHMARK, "--benchmark-json=out.json")
    result.assert_outcomes(passed=1, skipped=3)
    content = saved(pytester)
    assert "llmperf" not in content
    assert "llmperf" not in content["machine_info"]
