"""``--llmperf-keep-engine``: an engine outlives its run, the next that asks for the same finds it, and it ends."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_llmperf.engines import keep, leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Runs

PATIENCE_S = 60.0
SUITE = """
def test_which(llm_engine, llm_client):
    assert llm_client.generate("x", max_tokens=2).text
    with open("pid", "w") as file:
        print(*llm_engine.pids, llm_engine.load_time, file=file)
"""
KEEP = ("--llmperf-keep-engine=600",)


@pytest.fixture
def kept(runs: Runs, pytester: pytest.Pytester) -> Iterator[int]:
    """The pid of an engine that a first run has left behind."""
    runs(SUITE, *KEEP).assert_outcomes(passed=1)
    pid = int(_said(pytester.path)[0])
    assert psutil.pid_exists(pid)
    yield pid
    _end(pid)


def test_the_next_run_finds_it_and_says_so(kept: int, runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(SUITE, *KEEP)
    assert _said(pytester.path) == [str(kept), "None"]
    result.stdout.fnmatch_lines(["llmperf: simulated: simulated found running, kept from an earlier run"])
    result.stdout.no_fnmatch_line("*loading*")


def test_a_run_with_other_settings_or_without_the_option_starts_its_own(
    kept: int, runs: Runs, pytester: pytest.Pytester
) -> None:
    runs(SUITE).assert_outcomes(passed=1)
    own = int(_said(pytester.path)[0])
    assert own != kept
    assert not psutil.pid_exists(own)
    runs(SUITE, *KEEP, "--llmperf-engine-arg=seed=7").assert_outcomes(passed=1)
    other = int(_said(pytester.path)[0])
    assert other != kept
    _end(other)
    assert psutil.pid_exists(kept)


def test_one_that_has_crashed_since_is_replaced(kept: int, runs: Runs, pytester: pytest.Pytester) -> None:
    os.kill(kept, signal.SIGKILL)
    _until(lambda: not _alive(kept))
    runs(SUITE, *KEEP).assert_outcomes(passed=1)
    fresh = int(_said(pytester.path)[0])
    assert fresh != kept
    _end(fresh)


def test_one_that_is_in_use_is_not_shared(kept: int, runs: Runs, pytester: pytest.Pytester) -> None:
    (note,) = [note for note in leftovers.kept_engines() if note["engine"]["pid"] == kept]
    lease = keep._lock(Path(note["files"]) / keep.LEASE)
    assert lease is not None
    try:
        runs(SUITE, *KEEP).assert_outcomes(passed=1)
        second = int(_said(pytester.path)[0])
        assert second != kept
    finally:
        os.close(lease)
    _end(second)


def test_it_ends_by_itself_and_leaves_no_file_when_nobody_wants_it(runs: Runs, pytester: pytest.Pytester) -> None:
    runs(SUITE, "--llmperf-keep-engine=0.2").assert_outcomes(passed=1)
    pid = int(_said(pytester.path)[0])
    _until(lambda: not _alive(pid))
    _until(lambda: not list(pytester.path.glob("**/simulated.log")))


def _said(folder: Path) -> list[str]:
    return (folder / "pid").read_text().split()


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end(pid: int) -> None:
    """As its warden does: the engine first, since a kept one is nobody's child here."""
    if _alive(pid):
        os.kill(pid, signal.SIGKILL)
        _until(lambda: not _alive(pid))


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
