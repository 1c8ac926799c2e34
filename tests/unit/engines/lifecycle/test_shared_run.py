"""What the processes of a run share: its folder, however many begin at once, and whatever becomes of it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.lifecycle import pid_files, shared_run
from tests.helpers.engine_processes import own_tmp
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["own_tmp"]

ASKED = {"engine": "fake"}


@pytest.fixture
def run(own_tmp: Path) -> Iterator[shared_run.OwnRun]:
    made = shared_run.OwnRun()
    yield made
    made.close()


@pytest.mark.usefixtures("own_tmp")
@pytest.mark.parametrize("moment", ["made", "opened", "locked", "renamed"])
def test_a_run_that_begins_meanwhile_leaves_the_folder_of_another_alone(
    monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    others: list[shared_run.OwnRun] = []

    def begin_another(when: str) -> None:
        if when == moment and not others:
            others.append(None)  # type: ignore[arg-type]
            others[0] = shared_run.OwnRun()

    def follow(owner: object, name: str, when: str) -> None:
        real = getattr(owner, name)

        def call(*arguments: object, **named: object) -> object:
            result = real(*arguments, **named)
            begin_another(when)
            return result

        monkeypatch.setattr(owner, name, call)

    follow(tempfile, "mkdtemp", "made")
    follow(shared_run, "find_lock", "opened")
    follow(fcntl, "flock", "locked")
    follow(os, "rename", "renamed")
    first = shared_run.OwnRun()
    assert shared_run.is_here(first.folder)
    assert shared_run.is_here(others[0].folder)
    first.close()
    others[0].close()
    assert list(pid_files.find_directory().iterdir()) == []


@pytest.mark.usefixtures("own_tmp")
def test_the_folders_of_runs_whose_owner_was_killed_are_removed() -> None:
    directory = pid_files.find_directory()
    locked_once, never_locked, new, new_and_old = (
        directory / name for name in ("run-a", "run-b", "new-run-c", "new-run-d")
    )
    for folder in (locked_once, never_locked, new, new_and_old):
        folder.mkdir()
    (locked_once / "lock").touch()
    os.utime(new_and_old, (0, 0))
    run = shared_run.OwnRun()
    assert set(directory.iterdir()) == {new, Path(run.folder)}
    run.close()


def test_a_folder_that_was_removed_while_its_run_lasts_is_named_in_one_line(run: shared_run.OwnRun) -> None:
    shutil.rmtree(run.folder)
    for use in (
        lambda: shared_run.agree(run.folder, ASKED, []),
        lambda: shared_run.lock_measuring(run.folder).__enter__(),
        lambda: shared_run.start_once(run.folder, ASKED).__enter__(),
        lambda: shared_run.open_list(run.folder, ASKED, "deaths").__enter__(),
    ):
        with pytest.raises(EngineError, match=r"the folder of this run, .* was removed while it ran") as told:
            use()
        assert "\n" not in str(told.value)
    assert not shared_run.is_here(run.folder)


@pytest.mark.parametrize("text", ["", '[["a"', "{}"], ids=["empty", "cut", "no list"])
def test_what_another_process_left_half_written_is_named(run: shared_run.OwnRun, text: str) -> None:
    assert shared_run.agree(run.folder, ASKED, ["fact"]) == ["fact"]
    (found,) = Path(run.folder).glob("*.found")
    found.write_text(text, encoding="utf-8")
    with pytest.raises(EngineError, match=r"\.found of this run cannot be read"):
        shared_run.agree(run.folder, ASKED, ["other"])


def test_a_folder_in_which_nothing_can_be_made_is_named_with_what_to_do(
    own_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> str:
        raise OSError(28, "No space left on device", str(own_tmp / "run-x"))

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(EngineError, match=r"the folder of the run cannot be made: .*run-x: No space left .* TMPDIR"):
        shared_run.OwnRun()


@pytest.mark.usefixtures("own_tmp")
def test_the_end_of_a_run_removes_what_an_engine_left_whose_warden_was_killed(tmp_path: Path) -> None:
    run = shared_run.OwnRun()
    with subprocess.Popen([sys.executable, "-c", ""]) as warden:
        warden.wait(PATIENCE_S)
    files = tmp_path / "files"
    files.mkdir()
    kept = {"seconds": 0.0, "version": "1", "base_url": "http://127.0.0.1:1"}
    note = pid_files.write_note("fake", warden.pid, warden.pid, files, kept)
    run.close()
    assert not files.exists()
    assert not note.exists()
