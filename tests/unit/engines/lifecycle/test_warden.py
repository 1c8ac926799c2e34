from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.lifecycle import pid_files, warden
from tests.helpers.engine_processes import STUBBORN, child_of, own_tmp, parent_of_server, runs
from tests.helpers.waiting import PATIENCE_S, read_line, until

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["own_tmp"]

GRACE = "0.2"
SLEEPER = "import signal; signal.pause()"


@contextlib.contextmanager
def warden_of(
    folder: Path, *command: str, stdin: int = subprocess.PIPE, grace: str = GRACE
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A warden and the pid of its server, 0 when it has none."""
    line = [sys.executable, "-I", "-S", warden.__file__, grace, str(folder), str(folder), *command]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            line, stdin=stdin, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
    with process:
        server = int(read_line(process.stdout) or 0)
        try:
            yield process, server
        finally:
            if server:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(server, signal.SIGKILL)
            process.kill()


def python(script: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", script, *map(str, arguments)]


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("pass", 0),
        ("raise SystemExit(3)", 3),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 128 + signal.SIGKILL),
    ],
)
def test_the_exit_status_of_the_server_is_passed_on(tmp_path: Path, script: str, status: int) -> None:
    with warden_of(tmp_path, *python(script)) as (process, _):
        assert process.wait(PATIENCE_S) == status


def test_the_server_leads_a_process_group_in_the_wardens_session(tmp_path: Path) -> None:
    with warden_of(tmp_path, *python(SLEEPER)) as (process, server):
        assert os.getpgid(server) == server
        assert os.getsid(server) == process.pid
        assert os.getsid(0) != process.pid


def test_the_end_of_standard_input_ends_the_server_and_a_child_deaf_to_sigterm(tmp_path: Path) -> None:
    with warden_of(tmp_path, *python(STUBBORN, tmp_path)) as (process, server):
        child = child_of(tmp_path)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 128 + signal.SIGTERM
        until(lambda: not runs(server) and not runs(child))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_warden_ends_the_server_and_its_children(tmp_path: Path, number: signal.Signals) -> None:
    with warden_of(tmp_path, *python(STUBBORN, tmp_path)) as (process, server):
        child = child_of(tmp_path)
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == 128 + signal.SIGTERM
        until(lambda: not runs(server) and not runs(child))


def test_a_server_deaf_to_sigterm_is_killed(tmp_path: Path) -> None:
    deaf = (
        "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); open(sys.argv[1], 'w').close();"
        "\nwhile True: signal.pause()"
    )
    with warden_of(tmp_path, *python(deaf, tmp_path / "deaf")) as (process, _):
        until((tmp_path / "deaf").exists)
        process.terminate()
        assert process.wait(PATIENCE_S) == 128 + signal.SIGKILL


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no /dev/shm here")
def test_the_shared_memory_of_a_server_that_has_to_be_killed_is_removed(tmp_path: Path) -> None:
    holder = """
import signal, sys
from multiprocessing import resource_tracker, shared_memory
signal.signal(signal.SIGTERM, signal.SIG_IGN)
block = shared_memory.SharedMemory(create=True, size=64)
resource_tracker.unregister(block._name, "shared_memory")
with open(sys.argv[1] + ".new", "w", encoding="utf-8") as file:
    file.write(block.name)
import os; os.rename(sys.argv[1] + ".new", sys.argv[1])
while True: signal.pause()
"""
    name = tmp_path / "name"
    with warden_of(tmp_path, *python(holder, name)) as (process, _):
        until(name.exists)
        block = Path("/dev/shm") / name.read_text(encoding="utf-8")
        assert block.exists()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 128 + signal.SIGKILL
        assert not block.exists()


def test_what_a_server_leaves_behind_when_it_ends_by_itself_is_killed(tmp_path: Path) -> None:
    with warden_of(tmp_path, *python(STUBBORN, tmp_path)) as (process, server):
        child = child_of(tmp_path)
        os.kill(server, signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 128 + signal.SIGTERM
        until(lambda: not runs(child))


def test_the_server_dies_with_a_killed_warden(tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("parent-death signals are Linux only")
    if ctypes.CDLL(None).prctl(2, ctypes.byref(ctypes.c_int())) != 0:
        pytest.skip("this kernel has no parent-death signals")
    with warden_of(tmp_path, *python(SLEEPER)) as (process, server):
        process.kill()
        until(lambda: not runs(server))


def test_the_death_of_the_parent_ends_the_server_though_somebody_holds_the_pipe(tmp_path: Path) -> None:
    starter = "import subprocess, sys; subprocess.run(sys.argv[1:], start_new_session=True)"
    command = python(
        starter, sys.executable, "-I", "-S", warden.__file__, GRACE, tmp_path, tmp_path, *python(STUBBORN, tmp_path)
    )
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        server = int(read_line(parent.stdout))
        child = child_of(tmp_path)
        parent.kill()
        until(lambda: not runs(server) and not runs(child))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_the_files_of_the_server_go_with_it_whatever_ended_its_parent(
    tmp_path: Path, own_tmp: Path, number: signal.Signals
) -> None:
    run = own_tmp / "llmperf-fake"
    run.mkdir()
    with parent_of_server(run, SLEEPER) as (parent, server):
        until(lambda: list(pid_files.find_directory().glob("*.json")))
        parent.send_signal(number)
        until(lambda: not runs(server) and not run.exists())
        until(lambda: not list(pid_files.find_directory().iterdir()))


def test_the_files_of_a_server_that_ended_stay_for_a_parent_that_lives(tmp_path: Path, own_tmp: Path) -> None:
    run = own_tmp / "llmperf-fake"
    run.mkdir()
    with parent_of_server(run, "print('its last words')") as (parent, _):
        assert parent.stdin is not None
        status = ""
        while status in ("", "None"):
            parent.stdin.write("\n")
            parent.stdin.flush()
            status = read_line(parent.stdout).strip()
        assert status == "0"
        assert (run / "fake.log").read_text(encoding="utf-8") == "its last words\n"


def test_a_run_whose_owner_was_killed_goes_with_the_engine_that_it_shared(tmp_path: Path) -> None:
    run, folder, note = (tmp_path / name for name in ("run-killed", "files", "note.json"))
    for made in (run, folder):
        made.mkdir()
    (run / "lock").touch()
    (folder / "lease").write_text(str(run / "lock"), encoding="utf-8")
    note.touch()
    with warden_of(tmp_path, *python(SLEEPER)) as (process, _):
        assert process.stdin is not None
        order = {"seconds": 0, "lease": str(folder / "lease"), "folder": str(folder), "note": str(note)}
        process.stdin.write(json.dumps(order))
        process.stdin.flush()
        process.wait(PATIENCE_S)
    assert not any(path.exists() for path in (run, folder, note))


def test_a_command_that_cannot_be_run_is_named_in_the_log(tmp_path: Path) -> None:
    with warden_of(tmp_path, str(tmp_path / "no-server")) as (process, server):
        assert process.wait(PATIENCE_S) == 127
        assert server == 0
    assert (tmp_path / "log").read_text(
        encoding="utf-8"
    ) == f"cannot run {tmp_path}/no-server (No such file or directory)\n"


def test_the_server_writes_to_the_log_and_reads_nothing(tmp_path: Path) -> None:
    with warden_of(tmp_path, *python("import sys; print('read', repr(sys.stdin.read()))")) as (process, _):
        assert process.wait(PATIENCE_S) == 0
        assert read_line(process.stdout) == ""
    assert (tmp_path / "log").read_text(encoding="utf-8") == "read ''\n"


# Ends on SIGTERM; its child does not, and writes "tidied" once its parent is gone.
TIDY = """
import os, signal, sys, time
parent = os.getpid()
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(sys.argv[-1] + "/ready", "w").close()
    while os.getppid() == parent:
        time.sleep(0.001)
    open(sys.argv[-1] + "/tidied", "w").close()
    os._exit(0)
signal.pause()
"""


def test_what_the_server_has_started_may_tidy_up_after_it(tmp_path: Path) -> None:
    with warden_of(tmp_path, *python(TIDY, tmp_path), grace="30") as (process, server):
        until((tmp_path / "ready").exists)
        os.kill(server, signal.SIGKILL)
        assert process.wait(PATIENCE_S) == 128 + signal.SIGKILL
        assert (tmp_path / "tidied").exists()
