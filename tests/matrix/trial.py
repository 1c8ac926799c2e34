"""One trial of the matrix: a run of pytest that is disturbed at its moment, and what came of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.matrix.cases import LOADS
from tests.matrix.processes import (
    describe,
    find_shared_memory,
    find_victim,
    is_connected,
    list_processes,
    list_shared_memory,
)
from tests.matrix.suite import CONFTEST, GO, MARK, REPORT, TOLD, list_options, write_tests

if TYPE_CHECKING:
    from tests.matrix.cases import Case

# Patience, not performance: a run that hangs is still hanging then, on the busiest of hosts.
LIMITS_S = {"simulated": 150.0, "llamacpp": 240.0, "vllm": 900.0}
_LEFT_S = 60.0
_STOPPED_S = 1.5
_ATTEMPTS = 3
_PROJECT = Path(__file__).resolve().parents[2]
_NEIGHBOURS = ("anyio", "asyncio", "benchmark", "flaky", "html", "html_fixtures", "memray", "metadata", "randomly")
_DISTURBING = ("CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER")
# Under nohup, and as a job in the background of a script, signals are ignored, and so they are in every child.
_PYTEST = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
import pytest
sys.exit(pytest.main())
"""
# What pytest shows of failures: an engine's log in it may have a traceback of the engine.
_SHOWN = re.compile(r"^=+ (?:ERRORS|FAILURES) =+$.*?(?=^=+ .+ =+$)", re.MULTILINE | re.DOTALL)
_REASON = re.compile(r"^(?:FAILED|ERROR) \S+(?: - (?P<error>.+))?$", re.MULTILINE)
_CRASH = re.compile(r"^worker '\w+' crashed while running", re.MULTILINE)
ABSENT = "not there"


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        ending: ``passed``, ``failed: REASON``, ``interrupted``, ``ended by SIGTERM``, or ``not there`` if there was no
            such process at that moment.
        faults: what must not be, a line each.
        output: what pytest wrote.
    """

    ending: str
    faults: list[str] = field(default_factory=list)
    output: str = ""


class MomentMissed(Exception):  # noqa: N818
    """The run was past its moment before the victim was found."""


def run_trial(case: Case, model: str = "") -> Outcome:
    """Runs a case until it was disturbed at its moment; ``model`` is that of vLLM."""
    for attempt in range(_ATTEMPTS):
        # Short, so that the sockets of engines have room in it.
        with tempfile.TemporaryDirectory(prefix="llmx-", dir="/tmp", ignore_cleanup_errors=True) as folder:
            try:
                return _Trial(case, Path(folder), model).run()
            except MomentMissed:
                if attempt == _ATTEMPTS - 1:
                    raise
    raise AssertionError("unreachable")


class _Trial:
    def __init__(self, case: Case, folder: Path, model: str) -> None:
        self._case, self._folder = case, folder
        self._tmp, self._work = folder / "tmp", folder / "work"
        for path in (self._tmp, self._work):
            path.mkdir()
        (self._work / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        (self._work / "test_it.py").write_text(write_tests(case), encoding="utf-8")
        (self._work / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        self._given = set(self._list_files(self._work))
        self._options = list_options(case, model)
        self._inodes: set[int] = set()
        self._deadline = time.monotonic() + LIMITS_S[case.engine]

    def run(self) -> Outcome:
        with (self._folder / "output").open("wb") as output:
            run = subprocess.Popen(
                [sys.executable, "-c", _PYTEST, *self._options],
                cwd=self._work,
                env=self._make_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            victim = self._wait_for_moment(run)
            if victim is not None:
                self._disturb(victim)
            (self._folder / GO).touch()
            status = self._wait_for_end(run)
            left = self._wait_for_nothing()
        finally:
            self._kill_all(run)
        text = (self._folder / "output").read_text(encoding="utf-8", errors="replace")
        if victim is None:
            return Outcome(ABSENT, [], text)
        faults = [*self._judge_end(status, text), *left]
        return Outcome(_describe_ending(status, text), faults, text)

    def _make_environment(self) -> dict[str, str]:
        switched_off = " ".join(f"-p no:{name}" for name in _NEIGHBOURS)
        own = {
            MARK: str(self._folder),
            "LLMPERF_MATRIX_MOMENT": self._case.moment,
            "TMPDIR": str(self._tmp),
            "PYTEST_ADDOPTS": switched_off,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(_PROJECT),
            "COLUMNS": "200",
        }
        return {key: value for key, value in os.environ.items() if key not in _DISTURBING} | own

    def _wait_for_moment(self, run: subprocess.Popen[bytes]) -> psutil.Process | None:
        """The victim, once the run is where it is to be disturbed; None if there is none at a moment that was told."""
        told = self._folder / TOLD
        while time.monotonic() < self._deadline:
            if run.poll() is not None:
                raise MomentMissed(self._read_output())
            if self._case.moment in LOADS:
                client = find_victim(self._folder, "load client", run.pid)
                if client is not None and is_connected(client):
                    return find_victim(self._folder, self._case.victim, run.pid)
            elif self._case.moment == "loading":
                if find_victim(self._folder, "engine", run.pid) is not None:
                    return find_victim(self._folder, self._case.victim, run.pid)
            elif told.exists():
                return find_victim(self._folder, self._case.victim, run.pid)
            time.sleep(0.01)
        raise MomentMissed(self._read_output())

    def _disturb(self, victim: psutil.Process) -> None:
        self._inodes = find_shared_memory(list_processes(self._folder))
        number = signal.Signals[f"SIG{self._case.signal}"]
        try:
            victim.send_signal(number)
        except psutil.NoSuchProcess:
            raise MomentMissed(self._read_output()) from None
        if number is signal.SIGSTOP:
            # The run meets the process while it stands still.
            (self._folder / GO).touch()
            time.sleep(_STOPPED_S)
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGCONT)

    def _wait_for_end(self, run: subprocess.Popen[bytes]) -> int | None:
        try:
            return run.wait(max(1.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None

    def _wait_for_nothing(self) -> list[str]:
        """What is left, a line each: processes that do not end, and files that no process removes any more."""
        deadline = time.monotonic() + _LEFT_S
        while list_processes(self._folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        return self._list_left()

    def _list_left(self) -> list[str]:
        processes = [f"process left: {describe(one)[:150]}" for one in list_processes(self._folder)]
        shared = [f"left in /dev/shm: {name}" for name in list_shared_memory(self._inodes)]
        # The logs of engines in failed tests are kept for the user.
        own = f"pytest-llmperf-{os.getuid()}"
        meant = (f"{own}/logs", "pytest-of-")  # pytest keeps its own of the last runs
        found = [name for name in self._list_files(self._tmp) if name != own and not name.startswith(meant)]
        temporary = [f"left in TMPDIR: {name}" for name in found if os.path.dirname(name) not in found]
        expected = {*self._given, REPORT}
        work = [f"left beside the tests: {name}" for name in self._list_files(self._work) if name not in expected]
        return [*processes, *shared, *temporary, *work]

    @staticmethod
    def _list_files(folder: Path) -> list[str]:
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))

    def _judge_end(self, status: int | None, text: str) -> list[str]:
        if status is None:
            return [f"still running after {LIMITS_S[self._case.engine]:g} s"]
        faults = []
        if status not in _allow_statuses(self._case):
            faults.append(f"exit status {status}")
        has_traceback = "Traceback (most recent call last)" in _SHOWN.sub("", text)
        if "INTERNALERROR" in text or (has_traceback and not _ends_in_pytest(self._case)):
            faults.append("a traceback")
        if status in (0, 1) and not (self._work / REPORT).exists():
            faults.append("no report")
        elif status == 0:
            faults += self._judge_pass()
        if status == 1 and not any(found["error"] for found in _REASON.finditer(text)) and not _CRASH.search(text):
            faults.append("failed without a reason")
        if status == 2 and "KeyboardInterrupt" not in text:
            faults.append("interrupted without a word")
        return faults

    def _judge_pass(self) -> list[str]:
        """Why a run should not have passed: a verdict is missing, or is no PASS."""
        tests = json.loads((self._work / REPORT).read_text(encoding="utf-8"))["tests"]
        statuses = [verdict["status"] for test in tests for verdict in test["verdicts"]]
        number = 4 if self._case.mode == "n2" else 2
        if len(statuses) != number:
            return [f"passed with {len(statuses)} of {number} verdicts"]
        return [f"passed with a verdict {status}" for status in statuses if status != "PASS"]

    def _read_output(self) -> str:
        return f"{self._case}: " + (self._folder / "output").read_text(encoding="utf-8", errors="replace")

    def _kill_all(self, run: subprocess.Popen[bytes]) -> None:
        if run.poll() is None:
            run.kill()
            run.wait(60)
        for process in list_processes(self._folder):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _allow_statuses(case: Case) -> set[int]:
    """The exit statuses that a user may see."""
    if case.signal == "STOP" or not case.hits_pytest:
        # Two, as pytest-xdist ends when a worker was interrupted.
        return {0, 1, 2} if (case.victim, case.signal) == ("worker", "INT") else {0, 1}
    number = signal.Signals[f"SIG{case.signal}"]
    return {2} if number is signal.SIGINT and not _ends_in_pytest(case) else {-number, 128 + number}


def _ends_in_pytest(case: Case) -> bool:
    """Whether Ctrl-C comes after the session, where pytest does not catch it and ends with its own traceback."""
    return case.hits_pytest and (case.signal, case.moment) == ("INT", "end")


def _describe_ending(status: int | None, text: str) -> str:
    if status is None:
        return "hangs"
    if status == 0:
        return "passed"
    if status == 2:
        return "interrupted"
    if status < 0 or status > 128:
        return f"ended by {signal.Signals(-status if status < 0 else status - 128).name}"
    reasons = [found["error"] for found in _REASON.finditer(text) if found["error"]]
    if _CRASH.search(text):
        return "failed: worker crashed"
    if reasons:
        return f"failed: {reasons[0].partition(':')[0].rpartition('.')[2][:40]}"
    return f"exit status {status}"
