"""A run of a suite by another process: how it ended, and that it ends with the one that started it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_llmperf.plugin.calibration.suite_run import SuiteRun, run_suite
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = ("-p", "no:cacheprovider", "-p", "no:xdist", "-q")
HANGS = """
import os, pathlib, time

def test_hangs():
    part = pathlib.Path("pid.part")
    part.write_text(str(os.getpid()), encoding="utf-8")
    part.rename("pid")
    time.sleep(600)
"""
PROGRAM = """
import pathlib, sys
from pytest_llmperf.plugin.calibration.suite_run import run_suite
run_suite(sys.argv[1:], pathlib.Path.cwd())
"""


def test_a_run_tells_its_status_and_its_last_line(tmp_path: Path) -> None:
    tmp_path.joinpath("test_it.py").write_text("def test_a(): assert 0\ndef test_b(): pass\n", encoding="utf-8")
    run = run_suite([*PLAIN, "--rootdir=."], tmp_path)
    assert run.status == 1
    assert run.summary.startswith("1 failed, 1 passed in ")
    assert "FAILED test_it.py::test_a" in run.output
    assert run.seconds > 0


@pytest.mark.parametrize(
    ("status", "output", "summary"),
    [
        (0, "x\n===== \x1b[32m4 passed\x1b[0m in 1.2s =====\n\n", "4 passed in 1.2s"),
        (1, "= 1 failed in 101.06s (0:01:41) =\na warning at exit", "1 failed in 101.06s (0:01:41)"),
        (0, "a warning of a plugin", ""),
        (4, "usage: pytest\nERROR: unrecognized arguments: --x\n", "ERROR: unrecognized arguments: --x"),
        (4, "", ""),
    ],
)
def test_what_surrounds_the_summary_is_left_out(status: int, output: str, summary: str) -> None:
    assert SuiteRun(status, output, 1.0).summary == summary


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_the_run_ends_with_the_process_that_started_it(tmp_path: Path, number: signal.Signals) -> None:
    tmp_path.joinpath("test_it.py").write_text(HANGS, encoding="utf-8")
    command = [sys.executable, "-c", PROGRAM, *PLAIN, "--rootdir=."]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as outer:
        run = psutil.Process(_wait_for_pid(tmp_path / "pid", outer))
        outer.send_signal(number)
        _, errors = outer.communicate(timeout=PATIENCE_S)
    run.wait(PATIENCE_S)
    assert ("KeyboardInterrupt" in errors) is (number is signal.SIGINT)


def _wait_for_pid(path: Path, outer: subprocess.Popen[str]) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert outer.poll() is None, "it ended early"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(path.read_text(encoding="utf-8"))
