from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_llmperf.engines.lifecycle.shared_memory import SharedMemory
from tests.helpers.waiting import PATIENCE_S, read_line

pytestmark = pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no /dev/shm here")

# Holds shared memory and a semaphore that nobody unlinks, and says their names.
HOLDER = """
import _multiprocessing, os, sys
from multiprocessing import resource_tracker, shared_memory
block = shared_memory.SharedMemory(create=True, size=64)
resource_tracker.unregister(block._name, "shared_memory")
name = f"/mp-llmperf{os.getpid()}"
_multiprocessing.SemLock(0, 1, 1, name, False)
kept = _multiprocessing.SemLock._rebuild(0, 0, 1, name)
print(f"/dev/shm/{block.name}", f"/dev/shm/sem.{name[1:]}", flush=True)
sys.stdin.read()
os._exit(9)
"""


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    foreign = Path(f"/dev/shm/psm_llmperf_test_{os.getpid()}")
    foreign.touch()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        names = read_line(process.stdout).split()
        files = [Path(name) for name in names]
        shared = SharedMemory()
        try:
            shared.note([process.pid])
            process.kill()
            process.wait(PATIENCE_S)
            assert len(files) == 2
            assert all(file.exists() for file in files)
            shared.remove()
            assert not any(file.exists() for file in files)
            assert foreign.exists()
            shared.remove()
        finally:
            for file in [*files, foreign]:
                with contextlib.suppress(FileNotFoundError):
                    file.unlink()


def test_a_process_that_has_ended_is_no_error() -> None:
    shared = SharedMemory()
    shared.note([2**22 + 1])
    shared.remove()
