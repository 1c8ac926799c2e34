"""The times of an engine's threads, from a scripted /proc, and of a real process."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.sources.thread_times import BranchTimes

if TYPE_CHECKING:
    from pathlib import Path


def write(proc: Path, pid: int, **threads: str) -> None:
    """Sets the ``schedstat`` of threads, by their names with a ``t`` in front."""
    for name, text in threads.items():
        folder = proc / str(pid) / "task" / name[1:]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "schedstat").write_text(text, encoding="utf-8")


@pytest.fixture
def times(tmp_path: Path) -> BranchTimes:
    return BranchTimes(lambda: (10, 20), str(tmp_path))


def test_the_threads_of_all_processes_are_added_up(tmp_path: Path, times: BranchTimes) -> None:
    write(tmp_path, 10, t10="100 7 3\n", t11="50 3 1\n")
    write(tmp_path, 20, t20="1000 90 9\n")
    times.read()
    assert times.total == (1150, 100)


def test_a_thread_that_has_ended_keeps_what_it_had(tmp_path: Path, times: BranchTimes) -> None:
    write(tmp_path, 10, t10="100 7 3\n", t11="50 3 1\n")
    times.read()
    shutil.rmtree(tmp_path / "10" / "task" / "11")
    write(tmp_path, 10, t10="110 8 4\n", t12="5 1 1\n")
    times.read()
    assert times.total == (165, 12)


def test_a_process_that_has_ended_keeps_what_it_had(tmp_path: Path, times: BranchTimes) -> None:
    write(tmp_path, 10, t10="100 7 3\n")
    write(tmp_path, 20, t20="1000 90 9\n")
    times.read()
    shutil.rmtree(tmp_path / "20")
    times.read()
    times.read()
    assert times.total == (1100, 97)


def test_a_number_that_another_thread_has_now_counts_anew(tmp_path: Path, times: BranchTimes) -> None:
    write(tmp_path, 10, t11="50 3 1\n")
    times.read()
    write(tmp_path, 10, t11="2 1 1\n")
    times.read()
    assert times.total == (52, 4)


@pytest.mark.parametrize("text", ["", "0 0 0\n", "none\n", "1\n"])
def test_a_kernel_that_does_not_count_is_not_known(tmp_path: Path, times: BranchTimes, text: str) -> None:
    write(tmp_path, 10, t10=text)
    times.read()
    assert times.total is None


def test_hidden_processes_are_not_known(times: BranchTimes) -> None:
    times.read()
    assert times.total is None


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="reads /proc")
def test_this_process_has_run() -> None:
    times = BranchTimes(lambda: (os.getpid(),))
    times.read()
    assert times.total is not None
    assert times.total[0] > 0
