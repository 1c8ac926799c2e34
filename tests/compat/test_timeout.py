"""pytest-timeout: loading an engine is charged to no test, and a test that takes too long ends with its engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugin.test_signals import assert_gone, pids_in

if TYPE_CHECKING:
    from tests.conftest import Runs

pytest.importorskip("pytest_timeout")
TIMEOUT = ("-p", "timeout")

LOADS = """
@pytest.mark.timeout(3)
def test_first(llm_client):
    assert llm_client.generate("x", max_tokens=2).text
"""
HANGS = """
import time

@pytest.mark.timeout(1)
def test_hangs(llm_engine):
    with open("pids", "w") as file:
        print(*llm_engine.pids, file=file)
    time.sleep(60)
"""


@pytest.mark.parametrize(("method", "workers"), [("signal", ()), ("thread", ("-n2",))])
def test_the_time_an_engine_takes_to_load_does_not_count(runs: Runs, method: str, workers: tuple[str, ...]) -> None:
    if workers:
        pytest.importorskip("xdist")
    # In a process of its own: a timeout that strikes by a thread ends the whole process.
    result = runs.in_subprocess(LOADS, *TIMEOUT, f"--timeout-method={method}", *workers, load_time="3500 ms")
    result.assert_outcomes(passed=1)


def test_the_clock_goes_on_once_the_engine_is_ready(runs: Runs) -> None:
    result = runs(HANGS, *TIMEOUT, "--timeout-method=signal", load_time="1200 ms")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Failed: Timeout (>1.0*s) from pytest-timeout*"])


def test_a_timeout_that_ends_pytest_ends_the_engine_too(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs.in_subprocess(HANGS, *TIMEOUT, "--timeout-method=thread")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert_gone(pids_in(pytester.path / "pids"))
