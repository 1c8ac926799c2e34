"""SIGTERM at any moment of a run: plugin/ending/termination.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.plugin.ending.termination import EXIT_STATUS, Terminated, Termination
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def default() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def called(default: None) -> list[str]:
    return []


@pytest.fixture
def termination(called: list[str]) -> Termination:
    return Termination(lambda: called.append("begin"), lambda: called.append("write"))


def test_the_reports_are_written_before_anything_is_torn_down(termination: Termination, called: list[str]) -> None:
    termination.pytest_sessionstart()
    with pytest.raises(Terminated, match="by SIGTERM"):
        os.kill(os.getpid(), signal.SIGTERM)
    termination.pytest_keyboard_interrupt()
    assert called == ["begin", "write"]
    termination.pytest_unconfigure()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_interrupt_by_the_user_writes_nothing_early(termination: Termination, called: list[str]) -> None:
    termination.pytest_sessionstart()
    termination.pytest_keyboard_interrupt()
    assert called == []


def test_a_handler_of_somebody_else_stays(termination: Termination) -> None:
    def handler(*_: object) -> None: ...

    signal.signal(signal.SIGTERM, handler)
    termination.pytest_sessionstart()
    assert signal.getsignal(signal.SIGTERM) is handler
    termination.pytest_unconfigure()
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_run_in_another_thread_leaves_the_signal_alone(termination: Termination) -> None:
    thread = threading.Thread(target=termination.pytest_sessionstart)
    thread.start()
    thread.join(PATIENCE_S)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


SCRIPT = """
import os, signal, sys
from pytest_llmperf.plugin.ending.termination import Termination
termination = Termination(lambda: None, lambda: print("written", flush=True))
termination.pytest_sessionstart()
{}
os.kill(os.getpid(), signal.SIGTERM)
print("it lives", flush=True)
"""
IN_A_TEARDOWN = "termination.pytest_keyboard_interrupt()"
IN_A_CHILD = """
child = os.fork()
if child:
    _, status = os.waitpid(child, 0)
    print("child", os.waitstatus_to_exitcode(status), flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize(
    ("moment", "status", "printed"),
    [
        pytest.param(IN_A_TEARDOWN, -signal.SIGTERM, "written\n", id="while pytest ends"),
        pytest.param(IN_A_CHILD, 0, f"child {-signal.SIGTERM}\n", id="in a process that a test has forked"),
    ],
)
def test_the_process_ends_at_once(moment: str, status: int, printed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(moment)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (status, printed)


def test_the_exit_status_is_that_of_a_signal_in_shells() -> None:
    assert EXIT_STATUS == 143
