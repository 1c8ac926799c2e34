from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psutil
import pytest

import pytest_llmperf
from pytest_llmperf.system.child_process import ChildProcess, child_environment, describe_end, is_orphan, parent_pid
from tests.helpers.waiting import halt, read_line, until
from tests.helpers.watching import runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Start = Callable[..., ChildProcess]

TIMEOUT_S = 30.0
UNTIL_ITS_PIPE_ENDS = "import os, sys; os.read(int(sys.argv[1]), 1)"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a child process with this code as its module."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    started = []

    def start(code: str, *arguments: str, fds: tuple[int, ...] = ()) -> ChildProcess:
        (tmp_path / "code_of_a_child.py").write_text(code, encoding="utf-8")
        started.append(ChildProcess("code_of_a_child", arguments, fds))
        return started[-1]

    yield start
    for child in started:
        child.stop()


@pytest.fixture
def waiting(start: Start) -> Iterator[tuple[ChildProcess, IO[bytes]]]:
    """A child process that runs until the pipe beside it is closed, which the test may do."""
    read, write = os.pipe()
    with os.fdopen(write, "wb") as pipe:
        child = start(UNTIL_ITS_PIPE_ENDS, str(read), fds=(read,))
        os.close(read)
        yield child, pipe


@pytest.mark.parametrize(
    ("status", "log", "text"),
    [
        (-9, b"", "killed by SIGKILL"),
        (-99, b"", "killed by signal 99"),
        (1, b"Traceback:\n  ...\nValueError: no\n\n", "exit status 1: ValueError: no"),
        (2, b"x" * 500, f"exit status 2: {'x' * 200}"),
    ],
)
def test_an_end_is_described_by_its_status_and_the_last_line_of_the_log(status: int, log: bytes, text: str) -> None:
    assert describe_end(status, log) == text


def test_children_find_the_package_that_started_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    home = Path(pytest_llmperf.__file__).parents[1]
    paths = child_environment()["PYTHONPATH"].split(os.pathsep)
    assert paths == (["/elsewhere"] if home.name == "site-packages" else ["/elsewhere", str(home)])


def test_a_child_knows_its_parent_and_has_a_session_of_its_own(start: Start) -> None:
    code = """
import os, sys
from pytest_llmperf.system.child_process import is_orphan, parent_pid
sys.exit(f"{parent_pid()} {is_orphan()} {os.getsid(0) == os.getpid()} {sys.argv[1]}")
"""
    child = start(code, "argument")
    assert child.wait(TIMEOUT_S)
    assert child.why_ended() == f"exit status 1: {os.getpid()} False True argument"


def test_a_process_whose_parent_has_another_pid_is_an_orphan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMPERF_PARENT", "1000000")
    assert (parent_pid(), is_orphan()) == (1_000_000, True)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_a_child_wrote_last_says_why_it_ended(start: Start, stream: str) -> None:
    child = start(f"import sys; print('first\\nlast', file=sys.{stream}); sys.exit(3)")
    assert child.wait(TIMEOUT_S)
    assert (child.ended, child.why_ended()) == (True, "exit status 3: last")


def test_there_is_no_reason_for_an_end_while_the_child_runs(waiting: tuple[ChildProcess, IO[bytes]]) -> None:
    child, _ = waiting
    assert (child.wait(0), child.ended, child.why_ended()) == (False, False, "")


def test_stopping_gives_the_child_time_to_end_by_itself(waiting: tuple[ChildProcess, IO[bytes]]) -> None:
    child, pipe = waiting
    pipe.close()
    child.stop(grace_s=TIMEOUT_S)
    assert child.why_ended() == "exit status 0"


def test_stopping_kills_a_child_that_does_not_end_by_itself(waiting: tuple[ChildProcess, IO[bytes]]) -> None:
    child, _ = waiting
    child.stop()
    child.stop()
    assert not runs(child.pid)
    assert child.why_ended() == "killed by SIGKILL"


def test_an_interrupt_reaches_the_child(start: Start) -> None:
    read, write = os.pipe()
    code = """
import os, signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit("interrupted"))
os.write(int(sys.argv[1]), b"ready")
signal.pause()
"""
    child = start(code, str(write), fds=(write,))
    os.close(write)
    with os.fdopen(read, "rb") as ready:
        assert ready.read(5) == b"ready"
    child.interrupt()
    assert child.wait(TIMEOUT_S)
    child.interrupt()
    child.kill()
    assert child.why_ended() == "exit status 1: interrupted"


def test_a_child_that_cannot_be_killed_is_left_behind(
    waiting: tuple[ChildProcess, IO[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    child, _ = waiting
    with monkeypatch.context() as patches:
        patches.setattr(child, "kill", lambda: None)
        patches.setattr("pytest_llmperf.system.child_process._KILL_TIMEOUT_S", 0.0)
        child.stop()
    assert runs(child.pid)
    assert child.ended
    os.kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)


def test_a_child_that_cannot_be_started_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(FileNotFoundError, match="/nowhere/python"):
        ChildProcess("json.tool")


# ----------------------------------------------------------------------------------------------- the end of the parent

PARENT = """
import sys, threading, time
from pytest_llmperf.system.child_process import ChildProcess

def start():
    print(ChildProcess("code_of_a_child").pid, flush=True)

if sys.argv[1] == "main":
    start()
else:
    thread = threading.Thread(target=start)
    thread.start()
    thread.join(60)
time.sleep(600)
"""
TETHERED = "from pytest_llmperf.system.child_process import end_with_parent; end_with_parent(); "
CHILDREN = {
    "that waits": "import time; time.sleep(600)",
    "that computes": "while True: pass",
    "that holds the interpreter": "sum(range(10 ** 15))",
}


@contextlib.contextmanager
def parent_of(code: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A process that starts children, and their pids, as it prints them in one line."""
    parent = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, env=child_environment())
    pids: list[int] = []
    try:
        pids += map(int, read_line(parent.stdout).split())
        yield parent, pids
    finally:
        parent.kill()
        parent.communicate(timeout=TIMEOUT_S)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="the signal at the end of a parent is Linux's")
@pytest.mark.parametrize("is_stopped", [False, True], ids=["runs", "is stopped"])
@pytest.mark.parametrize(
    ("thread", "child"),
    [("main", child) for child in CHILDREN] + [("another", "that waits"), ("another", "that computes")],
)
def test_a_child_dies_with_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thread: str, child: str, is_stopped: bool
) -> None:
    begun = tmp_path / "begun"
    code = f"{TETHERED}\nopen({str(begun)!r}, 'w').close()\n{CHILDREN[child]}"
    (tmp_path / "code_of_a_child.py").write_text(code, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with parent_of(PARENT, thread) as (parent, (pid,)):
        until(begun.exists)
        if is_stopped:
            halt(pid)
        parent.kill()
        parent.wait(TIMEOUT_S)
        until(lambda: not runs(pid))


def test_a_child_whose_parent_has_ended_before_it_could_ask_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = child_environment() | {"LLMPERF_PARENT": "1000000"}
    done = subprocess.run([sys.executable, "-c", TETHERED], env=environment, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 1


ALL = """
import os, time
from pytest_llmperf.telemetry.sampler.process import launch
from pytest_llmperf.traffic.load.process import _Client
from pytest_llmperf.traffic.relay.process import Relay

sampler, relay, client = launch(100.0, ""), Relay("http://127.0.0.1:9/v1"), _Client("asyncio")
if os.fork() == 0:  # holds all that is open
    time.sleep(600)
while not sampler.ring.published_ns:
    time.sleep(0.01)
print(sampler.process.pid, relay.pid, client._process.pid, flush=True)
time.sleep(600)
"""


def test_stopped_children_of_every_kind_die_with_their_parent_though_a_fork_holds_their_lifelines() -> None:
    with parent_of(ALL) as (parent, pids):
        (forked,) = (child.pid for child in psutil.Process(parent.pid).children() if child.pid not in pids)
        try:
            for pid in pids[:2]:  # these have begun for certain
                halt(pid)
            parent.kill()
            parent.wait(TIMEOUT_S)
            until(lambda: not any(map(runs, pids)))
        finally:
            os.kill(forked, signal.SIGKILL)


def test_a_child_that_is_stopped_says_so_and_is_woken_to_end(waiting: tuple[ChildProcess, IO[bytes]]) -> None:
    child, pipe = waiting
    said = [child.stopped]
    halt(child.pid)
    said.append(child.stopped)
    pipe.close()
    child.stop(grace_s=TIMEOUT_S)
    assert (*said, child.stopped, child.why_ended()) == (False, True, False, "exit status 0")
