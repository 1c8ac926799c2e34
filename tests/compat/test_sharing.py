"""pytest-xdist: workers share one engine and measure in turn; nothing of it outlives the run, whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from itertools import pairwise
from typing import TYPE_CHECKING

import psutil
import pytest
from packaging.version import Version

from tests.helpers.engine_processes import own_tmp
from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runs

pytest.importorskip("xdist")
__all__ = ["own_tmp"]
pytestmark = pytest.mark.usefixtures("own_tmp")
# Each test waits for a second worker, so that one alone cannot run all of them.
SUITE = """
import os, time
from pathlib import Path

@pytest.fixture
def others():
    yield
    Path(os.environ["PYTEST_XDIST_WORKER"]).touch()

@pytest.mark.parametrize("number", range(4))
@pytest.mark.latency_budget(startup="60 s")
@pytest.mark.memory_budget(peak="1 GiB")
def test_one(llm_client, llm_engine, number, others):
    begun = time.monotonic()
    assert llm_client.generate("x", max_tokens=2).text
    time.sleep(0.1)
    with open("log", "a") as file:
        print(os.getpid(), *llm_engine.pids, begun, time.monotonic(), file=file)
"""


def rows(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "log").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("dist", ["load", "each", "worksteal"])
def test_one_engine_serves_all_workers_and_measured_tests_never_overlap(
    runs: Runs, pytester: pytest.Pytester, dist: str
) -> None:
    result = runs(SUITE, "-n2", f"--dist={dist}")
    result.assert_outcomes(passed=8 if dist == "each" else 4)
    result.stdout.fnmatch_lines(["llmperf: simulated: simulated ready after *"])
    assert result.stdout.str().count("loading simulated") == 1
    found = rows(pytester.path)
    assert len({row[0] for row in found}) == 2
    (engine,) = {row[1] for row in found}
    until(lambda: not psutil.pid_exists(int(engine)))
    windows = sorted((float(row[2]), float(row[3])) for row in found)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(windows))


def test_every_worker_judges_the_engine_as_the_one_that_started_it(runs: Runs) -> None:
    result = runs(SUITE, "-n2", "--llmperf-strict", startup_time="300 ms")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["budgets: 8 PASS"])


def test_the_wait_for_a_turn_comes_before_anything_of_the_test(runs: Runs, pytester: pytest.Pytester) -> None:
    note = """
import time

def note(what):
    with open("log", "a") as file:
        print(time.monotonic(), what, file=file)
"""
    pytester.makeconftest(note + "\ndef pytest_runtest_setup(item):\n    note('setup')\n")
    source = """
@pytest.mark.parametrize("number", range(4))
def test_one(llm_client, number):
    assert llm_client.generate("x", max_tokens=2).text
    time.sleep(0.1)
    note("end")
"""
    result = runs(note + source, "-n2")
    result.assert_outcomes(passed=4)
    assert result.stdout.str().count("warmed up") == 1  # whichever worker measures first
    found = sorted((float(at), what) for at, what in rows(pytester.path))
    assert [what for _, what in found] == ["setup", "end"] * 4


def test_a_start_that_failed_is_not_tried_again_by_the_others(runs: Runs) -> None:
    result = runs(SUITE, "-n2", crash_on_start="true")
    result.assert_outcomes(errors=4)
    assert result.stdout.str().count("llmperf: simulated: loading simulated") == 1
    assert result.stdout.str().count("cannot load the model") == 4


def test_an_engine_that_crashed_is_started_again_once_for_all(runs: Runs) -> None:
    once = "Path('killed').exists() or (Path('killed').touch(), os.kill(llm_engine.pids[0], 9))"
    crash = SUITE.replace("time.sleep(0.1)", once)
    result = runs(crash, "-n2")
    result.stdout.fnmatch_lines(["llmperf: simulated ended with SIGKILL; starting it again"])
    assert result.stdout.str().count("loading simulated") == 2


def test_an_engine_left_asleep_is_awake_for_the_other_worker(runs: Runs) -> None:
    once = "llm_engine.state.value == 'asleep' and os.abort(); llm_engine.sleep()"
    asleep = SUITE.replace("time.sleep(0.1)", once)
    runs(asleep, "-n2").assert_outcomes(passed=4)


def test_an_engine_that_shall_be_kept_is_kept_and_the_workers_of_the_next_run_share_it(
    runs: Runs, pytester: pytest.Pytester
) -> None:
    for _ in range(2):
        runs(SUITE, "-n2", "--llmperf-keep-engine=600").assert_outcomes(passed=4)
    (engine,) = {row[1] for row in rows(pytester.path)}
    assert psutil.pid_exists(int(engine))
    subprocess.run([sys.executable, "-m", "pytest_llmperf", "engines", "stop"], check=True, timeout=PATIENCE_S)
    until(lambda: not psutil.pid_exists(int(engine)))


HANGS = """
import os, time

@pytest.mark.parametrize("number", range(2))
def test_hangs(llm_engine, request, number):
    with open("log", "a") as file:
        print(os.getpid(), *llm_engine.pids, file=file)
    time.sleep(0 if os.path.exists("go") else 600)
"""


@pytest.fixture
def hanging(runs: Runs, pytester: pytest.Pytester) -> subprocess.Popen[str]:
    runs.write(HANGS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--llm-engine=simulated", "-n2"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until(lambda: (pytester.path / "log").exists() and len(rows(pytester.path)) >= 1)
    return run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_nothing_survives_the_controller(
    hanging: subprocess.Popen[str], pytester: pytest.Pytester, number: signal.Signals
) -> None:
    children = psutil.Process(hanging.pid).children(recursive=True)
    engine = psutil.Process(int(rows(pytester.path)[0][1]))
    hanging.send_signal(number)
    hanging.communicate(timeout=PATIENCE_S)
    until(lambda: not any(process.is_running() for process in [*children, engine]))


def test_a_worker_that_is_killed_takes_nothing_from_the_others(
    hanging: subprocess.Popen[str], pytester: pytest.Pytester
) -> None:
    worker, engine = map(int, rows(pytester.path)[0])
    (pytester.path / "go").touch()
    os.kill(worker, signal.SIGKILL)
    output, _ = hanging.communicate(timeout=PATIENCE_S)
    assert "1 failed, 1 passed" in output
    assert {int(row[1]) for row in rows(pytester.path)} == {engine}
    until(lambda: not psutil.pid_exists(engine))


def test_devices_cannot_be_shared_out_where_there_are_none(runs: Runs) -> None:
    result = runs.in_subprocess(SUITE, "-n2", "--llmperf-share=devices")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*llmperf: --llmperf-share=devices: 2 workers, and 0 devices: use --llmperf-share=engine"]
    )


def test_few_workers_are_proposed_for_a_shared_engine(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    source = "def test_it(llm_client, worker_id): ...\ndef test_other(): ..."
    runs(source, "-nauto").stdout.fnmatch_lines(["4 workers *"])
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "1")
    runs(source, "-nauto").stdout.fnmatch_lines(["1 worker *"])


def test_groups_that_would_be_scattered_are_told_of_at_both_ends(runs: Runs) -> None:
    affected = Version(pytest.__version__) >= Version("9.2") and Version(version("pytest-xdist")) <= Version("3.8.0")
    result = runs("def test_it(): ...", "-n1", "--dist=loadgroup")
    result.assert_outcomes(passed=1)
    assert result.stdout.str().count("--dist=loadgroup does not keep groups together") == (2 if affected else 0)


def test_a_run_takes_nothing_of_another_that_is_just_ending(runs: Runs, pytester: pytest.Pytester) -> None:
    runs.write(SUITE)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--llm-engine=simulated", "-n1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        until(lambda: (pytester.path / "log").exists())
        run.kill()  # the engine lives on for the moment that its warden takes to see it
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert "4 passed" in result.stdout, result.stdout
