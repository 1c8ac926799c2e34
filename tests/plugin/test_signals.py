"""Nothing outlives pytest: not after Ctrl-C, SIGTERM, SIGKILL, nor after a fixture that fails."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runs

HANGS = """
import os, time

def test_answers(llm_client):
    llm_client.generate("Hello", max_tokens=2)

@pytest.mark.memory_budget(peak="1 GiB")
def test_hangs(llm_engine, request):
    sampler = request.config.stash[SESSION].sampler
    with open("pids.part", "w") as file:
        print(*llm_engine.pids, sampler.pid, file=file)
    os.rename("pids.part", "pids")
    time.sleep(600)
"""
RECORDS_PIDS = "from pytest_llmperf.plugin.session import SESSION\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_engine_and_sampler_end_with_pytest(
    runs: Runs, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    runs.write(RECORDS_PIDS + HANGS)
    report, temporary = pytester.path / "out.json", pytester.mkdir("temporary")
    monkeypatch.setenv("TMPDIR", str(temporary))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--llm-engine=simulated"]
    command.append(f"--llmperf-report={report}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        started = pids_in(pytester.path / "pids", run)
        assert len(started) == 2
        run.send_signal(number)
        output, _ = run.communicate(timeout=PATIENCE_S)
    assert_gone(started)
    until(lambda: not [*temporary.glob("llmperf-*"), *temporary.glob("pytest-llmperf-*/*")])
    assert report.exists() is (number is not signal.SIGKILL)
    if number is signal.SIGTERM:
        assert run.returncode == 128 + signal.SIGTERM
        assert "Terminated" in output
        assert "INTERNALERROR" not in output
        written = json.loads(report.read_text(encoding="utf-8"))
        assert [test["nodeid"] for test in written["tests"]] == ["test_it.py::test_answers"]
        assert any("SIGTERM" in line for line in written["session"]["findings"])
    if number is signal.SIGINT:
        assert "KeyboardInterrupt" in output
        assert "INTERNALERROR" not in output
        assert run.returncode == pytest.ExitCode.INTERRUPTED


def test_the_engine_ends_when_a_fixture_fails_after_its_start(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        RECORDS_PIDS
        + """
@pytest.fixture(scope="session")
def application(llm_engine, request):
    with open("pids", "w") as file:
        print(*llm_engine.pids, request.config.stash[SESSION].sampler.pid, file=file)
    raise RuntimeError("the application does not start")

def test_application(application):
    pass
"""
    )
    result.assert_outcomes(errors=1)
    assert_gone(pids_in(pytester.path / "pids"))


def test_the_engine_ends_with_a_run_that_is_stopped_early(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        """
        def test_exits(llm_engine):
            with open("pids", "w") as file:
                print(*llm_engine.pids, file=file)
            pytest.exit("enough", returncode=5)

        def test_never_runs():
            pass
        """
    )
    assert result.ret == 5
    assert_gone(pids_in(pytester.path / "pids"))


def pids_in(path: Path, run: subprocess.Popen[str] | None = None) -> list[int]:
    deadline = time.monotonic() + PATIENCE_S
    while run is not None and not path.exists():
        assert run.poll() is None, run.communicate(timeout=PATIENCE_S)[0]
        assert time.monotonic() < deadline, "the test under test never started"
        time.sleep(0.05)
    return [int(pid) for pid in path.read_text(encoding="utf-8").split()]


def assert_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while left := [pid for pid in pids if psutil.pid_exists(pid) and not is_zombie(pid)]:
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.05)


def is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
