from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from multiprocessing import spawn
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.lifecycle.child_tether import tether_children
from tests.helpers.engine_processes import runs
from tests.helpers.waiting import PATIENCE_S, read_line, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel of Linux is asked")

# Stands for pytest: it has one child that is tied to it and one that is not, and a helper that cleans up after both.
PARENT = """
import multiprocessing, sys, time
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path
from pytest_llmperf.engines.lifecycle.child_tether import tether_children

def wait_for_ever():
    time.sleep(1000)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with tether_children(Path(sys.argv[1])):
        tied = context.Process(target=wait_for_ever)
        tied.start()
        left_behind = shared_memory.SharedMemory(create=True, size=64)
    free = context.Process(target=wait_for_ever)
    free.start()
    tracker = resource_tracker._resource_tracker._pid
    print(tied.pid, free.pid, tracker, left_behind.name, flush=True)
    wait_for_ever()
"""


class Family:
    """The process that stands for pytest, and what it has started."""

    def __init__(self, parent: subprocess.Popen[str]) -> None:
        self.parent = parent
        *pids, self.shared = read_line(parent.stdout).split()
        self.tied, self.free, self.tracker = map(int, pids)


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    script = tmp_path / "parent.py"
    script.write_text(PARENT, encoding="utf-8")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as parent:
        family = Family(parent)
        yield family
        for pid in (parent.pid, family.tied, family.free):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_tied_ends_with_its_parent_however_that_ends(family: Family, number: int) -> None:
    until(lambda: runs(family.tied) and runs(family.free))
    os.kill(family.parent.pid, number)
    until(lambda: not runs(family.tied))
    assert runs(family.free)


def test_the_helper_that_removes_shared_memory_still_does(family: Family, tmp_path: Path) -> None:
    path = f"/dev/shm/{family.shared}"
    assert os.path.exists(path)
    os.kill(family.free, signal.SIGKILL)
    os.kill(family.parent.pid, signal.SIGKILL)
    until(lambda: not runs(family.tracker))
    assert not os.path.exists(path)


def test_afterwards_processes_are_started_as_before(tmp_path: Path) -> None:
    before = spawn.get_executable()
    with tether_children(tmp_path):
        assert os.fsdecode(spawn.get_executable()) == str(tmp_path / "python")
    assert spawn.get_executable() == before


def test_in_a_thread_that_may_end_sooner_nothing_is_tied_to_it(tmp_path: Path) -> None:
    seen: list[object] = []

    def look() -> None:
        with tether_children(tmp_path):
            seen.append(spawn.get_executable())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(PATIENCE_S)
    assert seen == [spawn.get_executable()]
