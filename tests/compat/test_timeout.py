"""pytest-timeout: loading an engine is charged to no test, and a test that takes too long ends with its engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugin.test_signals import assert_gone, pids_in

if TYPE_CHECKING:
    from tests.conftest import Runs

pytest.importorskip("pytest_timeout")
TIMEOUT = ("-p", "timeout")

RECORDER = """
import time
import pytest

events = []

@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item, settings):
    events.append(("set", time.monotonic()))

@pytest.hookimpl(tryfirst=True)
def pytest_timeout_cancel_timer(item):
    events.append(("cancel", time.monotonic()))
"""
LOADS = """
from conftest import events

@pytest.mark.timeout(60)
def test_first(llm_engine):
    assert [what for what, _ in events][:3] == ["set", "cancel", "set"]
    (_, cancelled), (_, set_again) = events[1:3]
    assert set_again - cancelled >= llm_engine.startup_time >= 0.3
"""
HANGS = """
import time

@pytest.mark.timeout(3, func_only=True)
def test_hangs(llm_engine):
    with open("pids", "w") as file:
        print(*llm_engine.pids, file=file)
    time.sleep(60)
"""


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_no_timer_runs_while_an_engine_loads(
    runs: Runs, pytester: pytest.Pytester, method: str, workers: tuple[str, ...]
) -> None:
    pytester.makeconftest(RECORDER)
    result = runs(LOADS, *TIMEOUT, f"--timeout-method={method}", *workers, startup_time="300 ms")
    result.assert_outcomes(passed=1)


def test_the_clock_goes_on_once_the_engine_is_ready(runs: Runs) -> None:
    result = runs(HANGS.replace(", func_only=True", ""), *TIMEOUT, "--timeout-method=signal")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Failed: Timeout (>*s) from pytest-timeout*"])


def test_a_timeout_that_ends_pytest_ends_the_engine_too(runs: Runs, pytester: pytest.Pytester) -> None:
    # In a process of its own, which a timeout that strikes by a thread ends.
    result = runs.in_subprocess(HANGS, *TIMEOUT, "--timeout-method=thread")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert_gone(pids_in(pytester.path / "pids"))
