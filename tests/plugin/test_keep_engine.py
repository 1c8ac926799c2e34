"""``--llmperf-keep-engine``: an engine outlives its run, the next that asks for the same finds it, and it ends."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_llmperf.engines.api.spec import EngineSpec
from pytest_llmperf.engines.lifecycle import lease as keep
from pytest_llmperf.engines.lifecycle import pid_files
from pytest_llmperf.engines.simulated.engine import SimulatedServer
from tests.helpers.engine_processes import own_tmp
from tests.helpers.waiting import halt, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Runs

__all__ = ["own_tmp"]
pytestmark = pytest.mark.usefixtures("own_tmp")
SUITE = """
def test_which(llm_engine, llm_client):
    assert llm_client.generate("x", max_tokens=2).text
    with open("pid", "w") as file:
        print(*llm_engine.pids, llm_engine.startup_time, file=file)
"""
KEEP = ("--llmperf-keep-engine=600",)


@pytest.fixture
def kept(runs: Runs, pytester: pytest.Pytester) -> Iterator[int]:
    """The pid of an engine that a first run has left behind."""
    result = runs(SUITE, *KEEP)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*simulated: warmed up by one request in *"])
    pid = int(_read_notes(pytester.path)[0])
    assert psutil.pid_exists(pid)
    yield pid
    _end(pid)


def test_the_next_run_finds_it_and_says_so(kept: int, runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(SUITE, *KEEP)
    assert _read_notes(pytester.path) == [str(kept), "None"]
    result.stdout.fnmatch_lines(["llmperf: simulated: simulated found running, kept from an earlier run"])
    result.stdout.no_fnmatch_line("*loading*")
    result.stdout.no_fnmatch_line("*warmed up*")


def test_a_run_with_other_settings_or_without_the_option_starts_its_own(
    kept: int, runs: Runs, pytester: pytest.Pytester
) -> None:
    runs(SUITE).assert_outcomes(passed=1)
    own = int(_read_notes(pytester.path)[0])
    assert own != kept
    assert not psutil.pid_exists(own)
    runs(SUITE, *KEEP, "--llmperf-engine-arg=seed=7").assert_outcomes(passed=1)
    other = int(_read_notes(pytester.path)[0])
    assert other != kept
    _end(other)
    assert psutil.pid_exists(kept)


def test_one_that_has_crashed_since_is_replaced(kept: int, runs: Runs, pytester: pytest.Pytester) -> None:
    os.kill(kept, signal.SIGKILL)
    until(lambda: not _alive(kept))
    runs(SUITE, *KEEP).assert_outcomes(passed=1)
    fresh = int(_read_notes(pytester.path)[0])
    assert fresh != kept
    _end(fresh)


STALE = "llmperf: simulated: the engine kept from an earlier run (pid {}) was stopped: {}"


def test_one_whose_model_file_has_changed_is_stopped_and_replaced(runs: Runs, pytester: pytest.Pytester) -> None:
    model = pytester.path / "weights"
    model.write_text("one", encoding="utf-8")
    options = (*KEEP, f"--llmperf-model={model}")
    runs(SUITE, *options)
    stale = int(_read_notes(pytester.path)[0])
    model.write_text("two!", encoding="utf-8")
    _expect_replacement(runs(SUITE, *options), stale, "its model changed since it was started", pytester.path)


def test_one_whose_model_file_changed_while_its_own_run_used_it_is_not_taken_for_the_new_one(
    runs: Runs, pytester: pytest.Pytester
) -> None:
    model = pytester.path / "weights"
    model.write_text("one", encoding="utf-8")
    options = (*KEEP, f"--llmperf-model={model}")
    runs(SUITE + f"    open({str(model)!r}, 'w').write('two!')", *options)
    stale = int(_read_notes(pytester.path)[0])
    _expect_replacement(runs(SUITE, *options), stale, "its model changed since it was started", pytester.path)


def test_one_whose_program_was_installed_anew_is_stopped_and_replaced(
    kept: int, runs: Runs, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimulatedServer, "describe_program", lambda self: "version 2")
    _expect_replacement(runs(SUITE, *KEEP), kept, "its program changed since it was started", pytester.path)


def test_one_that_hears_nothing_any_more_is_stopped_and_replaced(
    kept: int, runs: Runs, pytester: pytest.Pytester
) -> None:
    halt(kept)
    _expect_replacement(runs(SUITE, *KEEP), kept, "it no longer answers", pytester.path)


def test_one_of_another_version_than_was_noted_is_stopped_and_replaced(
    kept: int, runs: Runs, pytester: pytest.Pytester
) -> None:
    _change_note(kept, version="0")
    _expect_replacement(runs(SUITE, *KEEP), kept, "it is version 0, and 1 is asked for", pytester.path)


def test_an_address_where_another_model_is_served_by_now_is_not_used(
    kept: int, runs: Runs, pytester: pytest.Pytester
) -> None:
    other = SimulatedServer(EngineSpec("simulated", model="other"))
    other.start(lambda _: None)
    try:
        _change_note(kept, base_url=other.base_url)
        _expect_replacement(runs(SUITE, *KEEP), kept, "it serves other, not simulated", pytester.path)
        assert other.read_status().reason == ""
    finally:
        other.stop()


def _expect_replacement(result: pytest.RunResult, stale: int, reason: str, folder: Path) -> None:
    """The run passed on a fresh engine, the stale one has ended, and the reason was said."""
    result.assert_outcomes(passed=1)
    fresh = int(_read_notes(folder)[0])
    assert fresh != stale
    assert not _alive(stale)
    assert STALE.format(stale, reason) in result.outlines
    _end(fresh)


def _change_note(pid: int, **kept: str) -> None:
    """Edits what was noted of a kept engine."""
    for path in pid_files.find_directory().glob("*.json"):
        note = json.loads(path.read_text(encoding="utf-8"))
        if note["engine"]["pid"] == pid:
            path.write_text(json.dumps({**note, "kept": {**note["kept"], **kept}}), encoding="utf-8")


def test_one_that_is_in_use_is_not_shared(kept: int, runs: Runs, pytester: pytest.Pytester) -> None:
    (note,) = [note for note in pid_files.list_kept_notes() if note["engine"]["pid"] == kept]
    lease = keep.take_lease(note)
    assert lease is not None
    try:
        runs(SUITE, *KEEP).assert_outcomes(passed=1)
        second = int(_read_notes(pytester.path)[0])
        assert second != kept
    finally:
        os.close(lease)
    _end(second)


def test_it_ends_by_itself_and_leaves_no_file_when_nobody_wants_it(
    own_tmp: Path, runs: Runs, pytester: pytest.Pytester
) -> None:
    runs(SUITE, "--llmperf-keep-engine=0.2").assert_outcomes(passed=1)
    pid = int(_read_notes(pytester.path)[0])
    until(lambda: not _alive(pid))
    until(lambda: [path for path in own_tmp.rglob("*") if path != pid_files.find_directory()] == [])


def _read_notes(folder: Path) -> list[str]:
    return (folder / "pid").read_text(encoding="utf-8").split()


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end(pid: int) -> None:
    """As its warden does: the engine first, since a kept one is nobody's child here."""
    if _alive(pid):
        os.kill(pid, signal.SIGKILL)
        until(lambda: not _alive(pid))
