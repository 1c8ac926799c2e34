from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.lifecycle import pid_files
from tests.helpers.engine_processes import child_of, own_tmp, parent_of_server, runs
from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["own_tmp"]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads its own session, as a warden does, and its own group, as an engine does."""
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    with subprocess.Popen(command, start_new_session=True) as process:
        yield process
        process.kill()


@pytest.fixture
def dead() -> int:
    """The pid of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        return process.pid


def list_pid_files() -> list[Path]:
    return list(pid_files.find_directory().iterdir())


def change(**found: Any) -> None:
    (path,) = list_pid_files()
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | found), encoding="utf-8")


@pytest.mark.usefixtures("own_tmp")
def test_what_outlived_a_killed_pytest_and_its_killed_warden_is_ended_by_the_next_sweep(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with parent_of_server(run) as (parent, server):
        child = child_of(run)
        warden = os.getsid(server)
        os.kill(parent.pid, signal.SIGSTOP)  # or it could notice the end of the warden
        os.kill(warden, signal.SIGKILL)
        os.kill(parent.pid, signal.SIGKILL)
        until(lambda: not runs(warden) and not runs(parent.pid))
        assert runs(child)
        said: list[str] = []
        pid_files.clean_up(said.append)
        assert said == [f"fake: ended pid {server}, left over from a run that was killed"]
        until(lambda: not runs(child) and not runs(server))
    assert list_pid_files() == []
    assert not run.exists()


@pytest.mark.usefixtures("own_tmp")
def test_the_engine_of_a_pytest_that_lives_is_left_alone(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    pid_files.write_note("fake", sleeper.pid, sleeper.pid, tmp_path)
    said: list[str] = []
    pid_files.clean_up(said.append)
    assert said == []
    assert sleeper.poll() is None
    assert len(list_pid_files()) == 1
    assert tmp_path.exists()


@pytest.mark.usefixtures("own_tmp")
def test_the_engine_of_a_pytest_whose_pid_was_reused_is_ended(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    pid_files.write_note("fake", sleeper.pid, sleeper.pid, tmp_path / "run")
    change(owner={"pid": os.getpid(), "started": "long ago"})
    pid_files.clean_up(lambda _: None)
    assert sleeper.wait(PATIENCE_S) == -signal.SIGKILL


@pytest.mark.usefixtures("own_tmp")
def test_a_process_that_has_got_the_pid_of_an_engine_is_not_killed(
    sleeper: subprocess.Popen[bytes], dead: int, tmp_path: Path
) -> None:
    pid_files.write_note("fake", sleeper.pid, sleeper.pid, tmp_path / "run")
    reused = {"pid": sleeper.pid, "started": "long ago"}
    change(owner={"pid": dead, "started": "long ago"}, engine=reused, warden=reused)
    said: list[str] = []
    pid_files.clean_up(said.append)
    assert said == []
    assert sleeper.poll() is None
    assert list_pid_files() == []


@pytest.mark.usefixtures("own_tmp")
def test_a_group_that_belongs_to_another_session_is_not_killed(sleeper: subprocess.Popen[bytes], dead: int) -> None:
    assert not pid_files.kill_group(sleeper.pid, session=dead)
    assert sleeper.poll() is None
    assert pid_files.kill_group(sleeper.pid, session=sleeper.pid)
    assert sleeper.wait(PATIENCE_S) == -signal.SIGKILL


@pytest.mark.usefixtures("own_tmp")
def test_the_file_of_an_engine_that_has_ended_is_removed_without_a_word(dead: int, tmp_path: Path) -> None:
    pid_files.write_note("fake", dead, dead, tmp_path / "run")
    change(owner={"pid": dead, "started": None})
    said: list[str] = []
    pid_files.clean_up(said.append)
    assert said == []
    assert list_pid_files() == []


def test_a_folder_that_somebody_else_has_made_is_refused(own_tmp: Path) -> None:
    elsewhere = own_tmp / "elsewhere"
    elsewhere.mkdir()
    (own_tmp / f"pytest-llmperf-{os.getuid()}").symlink_to(elsewhere)
    with pytest.raises(EngineError, match="is not a folder of this user"):
        pid_files.find_directory()


def test_the_folder_can_be_entered_by_its_user_only(own_tmp: Path) -> None:
    path = pid_files.find_directory()
    assert path.parent == own_tmp
    assert path.stat().st_mode & 0o777 == 0o700
    assert pid_files.find_directory() == path


@pytest.mark.parametrize("name", ["vllm", "a-label-" * 8])
def test_the_folder_for_its_sockets_has_a_short_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for parent in (tmp_path / ("long" * 30), Path("/tmp")):
        parent.mkdir(exist_ok=True)
        monkeypatch.setattr(tempfile, "tempdir", str(parent))
        folder = pid_files.create_folder(name)
        assert folder.parent == Path("/tmp")
        folder.rmdir()
    assert list((tmp_path / ("long" * 30)).iterdir()) == []


@pytest.mark.usefixtures("own_tmp")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"name": "vllm", "files": "/ne',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"name": "a", "files": "/x", "owner": 1, "warden": 2, "engine": 3}',
        b'{"name": "a", "files": "/x", "kept": null, "owner": {"pid": 1}, "warden": {"pid": -1}, "engine": {"pid": 0}}',
        None,
    ],
    ids=["empty", "cut", "bytes", "deep", "list", "no keys", "other shape", "no pids", "a folder"],
)
def test_a_pid_file_that_cannot_be_read_is_named_and_removed_and_hides_no_other(
    content: bytes | None, dead: int, tmp_path: Path
) -> None:
    broken = pid_files.find_directory() / "1.json"
    if content is None:
        broken.mkdir()
    else:
        broken.write_bytes(content)
    kept = {"seconds": 9, "version": "1", "base_url": "http://127.0.0.1:1/v1"}
    other = pid_files.write_note("fake", os.getpid(), os.getpid(), tmp_path / "run", kept)
    assert [note["name"] for note in pid_files.list_kept_notes()] == ["fake"]
    said: list[str] = []
    pid_files.clean_up(said.append)
    assert list_pid_files() == [other]
    assert len(said) == 1
    assert said[0].startswith(f"{broken} cannot be read, and is removed: ")
    assert "\n" not in said[0]


@pytest.mark.usefixtures("own_tmp")
def test_the_draft_of_a_writer_that_was_killed_is_removed_when_it_is_old() -> None:
    old, young = (pid_files.find_directory() / f".1.json.{name}.tmp" for name in ("old", "young"))
    for draft in (old, young):
        draft.touch()
    os.utime(old, (0, 0))
    pid_files.clean_up(lambda _: None)
    assert list_pid_files() == [young]
