"""``--llmperf-calibrate``: several runs of one command line, the audit of its budgets, and limits that fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.__main__ import main
from pytest_llmperf.baselines.store import Store

if TYPE_CHECKING:
    from tests.conftest import Runs

SUITE = """
def ask(client):
    for _ in range(11):
        assert client.generate("x", max_tokens=3).text

@pytest.mark.memory_budget(peak="1 GiB")
@pytest.mark.latency_budget(ttft_p50="1 ms")
def test_too_tight(llm_client):
    ask(llm_client)

def test_without_budgets(llm_client):
    ask(llm_client)
"""


def test_runs_are_audited_and_suggested_limits_are_used(
    runs: Runs, pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    result = runs.in_subprocess(SUITE, "--llmperf-calibrate=3", "-n1", ttft="20 ms")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "llmperf: 3 runs of: pytest *-n1*",
            "llmperf: run 1 of 3: ended with status 1: 1 failed, 1 passed in *; budgets that failed are counted as*",
            "  FAILED test_it.py::test_too_tight - BudgetExceeded: latency.ttft_p50 *",
            "llmperf: run 3 of 3: *",
            "test_it.py::test_too_tight",
            "  memory.peak ≤ 1 GiB: * in 3 runs, *",
            "these would fail a good build in more than 1 % of runs:",
            "  test_it.py::test_too_tight latency.ttft_p50 ≤ 1 ms: in 100 %; *",
            "these have so much room that a build twice as bad would pass:",
            "  test_it.py::test_too_tight memory.peak ≤ 1 GiB: *",
        ]
    )
    store = Store(pytester.path / ".llmperf")
    [fingerprint] = store.fingerprints("calibration")
    assert len(store.find_runs("calibration", fingerprint)) == 3

    capsys.readouterr()
    assert main(["suggest"]) == 0
    assert capsys.readouterr().out.endswith(" limits from 3 runs\n")
    assert main(["suggest"]) == 1
    assert "llmperf.toml is there already: --force replaces it" in capsys.readouterr().err
    assert main(["audit"]) == 0
    assert "latency.ttft_p50 ≤ 1 ms: " in capsys.readouterr().out

    again = runs(SUITE.replace('@pytest.mark.latency_budget(ttft_p50="1 ms")', ""), "-vv", ttft="60 ms")
    again.stdout.fnmatch_lines(["*FAILED test_it.py::test_too_tight - BudgetExceeded: latency.ttft_p50 *"])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--llmperf-calibrate=2",), "--llmperf-calibrate=2 must be 3 or more"),
        (("--llmperf-calibrate=3", "--llmperf-save=mine"), "leave out --llmperf-save"),
        (("--llmperf-calibrate=3", "--llmperf-keep-engine=60"), "leave out --llmperf-keep-engine"),
        (("--llmperf-calibrate=3",), "plugin objects given to pytest.main cannot be passed on"),
    ],
)
def test_what_does_not_go_with_it_is_refused(runs: Runs, options: tuple[str, ...], why: str) -> None:
    result = runs(SUITE, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: llmperf: *{why}*"])


def test_a_collection_is_no_calibration(runs: Runs) -> None:
    runs(SUITE, "--llmperf-calibrate=3", "--collect-only").stdout.fnmatch_lines(["*2 tests collected*"])
