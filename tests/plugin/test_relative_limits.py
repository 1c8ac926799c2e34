"""Limits against a baseline: a run is stored, and later runs are compared with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.baselines.store import Store
from pytest_llmperf.reports.report_file import read_report
from tests.conftest import SIMULATED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runs

CHAT = """
import os

@pytest.mark.memory_budget(peak=("1 GiB", "+50 %"))
@pytest.mark.latency_budget(e2e_max="+400 %", ttft_max="1 min")
def test_chat(llm_client):
    simulate = {"ttft": os.environ.get("LLMPERF_TEST_TTFT", "20 ms")}
    llm_client.generate("x", max_tokens=3, simulate=simulate)
"""
TWO = ("--llm-engine=old=simulated", "--llm-engine=new=simulated")


@pytest.fixture(autouse=True)
def _in_no_pull_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_EVENT_NAME", raising=False)


def read_stored(folder: Path) -> list[dict[str, Any]]:
    return [read_report(path) for path in sorted(folder.glob("*/*/*.json"))]


def store_again(folder: Path, times: int) -> None:
    """Stores the only run that is there again, as if it had been repeated minutes later, with a little noise."""
    [report] = read_stored(folder)
    readings = [test["measurement"]["readings"]["latency.e2e_max"] for test in report["tests"]]
    for number in range(times):
        report["created"] = f"2026-01-01T00:{number:02}:00Z"
        for reading in readings:
            reading["value"] *= 1 + 0.004 * (number % 3 - 1)
        Store(folder).save("main", report)


def test_a_strict_first_run_is_stored_and_workers_compare_the_next_on_each_engine(
    runs: Runs, pytester: pytest.Pytester
) -> None:
    first = runs.plain(CHAT, *TWO, "--llmperf-strict", "--llmperf-save")
    first.assert_outcomes(passed=2)
    first.stdout.fnmatch_lines(["why: * NO BASELINE: no run is stored as main in .llmperf: --llmperf-save=main*"])
    first.stdout.fnmatch_lines(["budgets: 4 PASS, 4 NO BASELINE", "stored as main: *.json"])
    [report] = read_stored(pytester.path / ".llmperf")  # two labels, and one fingerprint
    assert [test["nodeid"] for test in report["tests"]] == ["test_it.py::test_chat[old]", "test_it.py::test_chat[new]"]
    store_again(pytester.path / ".llmperf", 5)

    # One engine, whose label tests have not in their names, in two workers.
    options = ("--llmperf-strict", "-n2", "--llmperf-report=out.json", "--llmperf-compare=main")
    second = pytester.runpytest_subprocess(SIMULATED, *options)
    second.assert_outcomes(passed=1)
    second.stdout.fnmatch_lines(["budgets: 4 PASS", "baseline main of simulated:simulated: 6 runs, the newest of *"])
    second.stdout.fnmatch_lines(["against main: test_it.py::test_chat: latency.ttft_max * (6 runs)"])
    written = read_report(pytester.path / "out.json")
    assert [line.split()[:2] for line in written["session"]["baselines"]] == [
        ["baseline", "main"],
        ["against", "main:"],
    ]
    [test] = written["tests"]
    compared = {verdict["name"]: verdict for verdict in test["verdicts"] if verdict["relative"]}
    assert compared["latency.e2e_max"]["interval"]["units"] == 6
    assert compared["memory.peak"]["limit"] == pytest.approx(1.5 * compared["memory.peak"]["baseline"])


def test_what_became_slower_fails_and_is_stored_only_if_it_is_asked_again(
    runs: Runs, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(CHAT, "--llmperf-save").assert_outcomes(passed=1)
    folder = pytester.path / ".llmperf"
    store_again(folder, 5)
    monkeypatch.setenv("LLMPERF_TEST_TTFT", "600 ms")
    monkeypatch.setenv("GITHUB_EVENT_NAME", "pull_request")
    slow = runs(CHAT, "--llmperf-save", "--junitxml=out.xml")
    slow.assert_outcomes(failed=1)
    slow.stdout.fnmatch_lines(["FAILED *BudgetExceeded: latency.e2e_max +* % (+* to +*) > +400 %: * against *"])
    slow.stdout.fnmatch_lines(
        ["error: not stored as main: 1 test failed (--llmperf-save-anyway stores it all the same)"]
    )
    slow.stdout.fnmatch_lines(["warning: --llmperf-save=main in the run of a pull request moves its own baseline: *"])
    junit = (pytester.path / "out.xml").read_text(encoding="utf-8")
    assert 'name="llmperf.latency.e2e_max.change.verdict" value="FAIL"' in junit
    assert len(read_stored(folder)) == 6
    runs(CHAT, "--llmperf-save=slow", "--llmperf-save-anyway").assert_outcomes(failed=1)
    assert Store(folder).names() == ["main", "slow"]


def test_another_setting_of_the_engine_is_not_comparable(runs: Runs) -> None:
    runs(CHAT, "--llmperf-save").assert_outcomes(passed=1)
    other = runs(CHAT, "--llmperf-strict", memory="1 MiB")
    other.assert_outcomes(failed=1)
    other.stdout.fnmatch_lines(["FAILED *NoVerdict: * NO BASELINE: not comparable with main: memory 1 MiB / none*"])


NOT_MEASURED = """
@pytest.mark.memory_budget(kv_cache="1 GiB")
def test_unmeasured(llm_client):
    llm_client.generate("x", max_tokens=2)
"""


def test_a_run_that_passes_fails_if_it_cannot_be_stored(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(NOT_MEASURED, "--llmperf-save")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["error: not stored as main: *test_unmeasured: memory.kv_cache NOT MEASURED: *"])
    assert not (pytester.path / ".llmperf").exists()
    collected = runs.plain(CHAT, "--collect-only", "--llmperf-save")
    assert collected.ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--llmperf-save", "test_it.py"),
            "--llmperf-save test_it.py: write --llmperf-save=test_it.py if *",
        ),
        (("--llmperf-save=a b",), "--llmperf-save=a b: 'a b' cannot name stored runs: *"),
        (("--llmperf-compare=../x",), "--llmperf-compare=../x: '../x' cannot name stored runs: *"),
        (("--llmperf-save=",), "--llmperf-save= has no value: give it one, or leave the option out"),
        (("--llmperf-compare=",), "--llmperf-compare= has no value: *"),
        (("--llmperf-store=",), "--llmperf-store= has no value: *"),
        (("--llmperf-save-anyway",), "--llmperf-save-anyway has no effect without --llmperf-save"),
    ],
)
def test_options_that_make_no_sense_are_refused(runs: Runs, options: tuple[str, ...], message: str) -> None:
    result = runs.plain(CHAT, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: llmperf: {message}"])
