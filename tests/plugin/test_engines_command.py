"""``pytest-llmperf engines``: what ``--llmperf-keep-engine`` has left running is listed, and ended for sure."""

from __future__ import annotations

import json
import os
import signal
import tomllib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.__main__ import main
from pytest_llmperf.engines.lifecycle import lease as keep
from pytest_llmperf.engines.lifecycle import pid_files
from tests.helpers.engine_processes import own_tmp
from tests.helpers.engine_processes import runs as is_running
from tests.helpers.waiting import halt, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Runs

__all__ = ["own_tmp"]
SUITE = """
def test_asks(llm_client):
    assert llm_client.generate("x", max_tokens=2).text
"""


@pytest.fixture
def kept(own_tmp: Path, runs: Runs) -> Iterator[int]:
    """The pid of an engine that a run has left behind, the only one there is."""
    runs(SUITE, "--llmperf-keep-engine=600").assert_outcomes(passed=1)
    [note] = pid_files.list_kept_notes()
    pid, warden = note["engine"]["pid"], note["warden"]["pid"]
    yield pid
    for process in (warden, pid):
        if is_running(process):
            os.kill(process, signal.SIGKILL)


def note_of(pid: int) -> dict[str, dict[str, int]]:
    [note] = [note for note in pid_files.list_kept_notes() if note["engine"]["pid"] == pid]
    return note


@pytest.fixture
def lease(kept: int) -> Iterator[None]:
    """Holds the kept engine as a run does that uses it."""
    lease = keep.take_lease(note_of(kept))
    assert lease is not None
    yield
    os.close(lease)


def command(*arguments: str) -> int:
    return main(["engines", *arguments])


def listed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    capsys.readouterr()
    assert command("--json") == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


def test_a_kept_engine_is_listed_with_all_that_tells_it_apart(kept: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 0
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split() == ["model", "engine", "version", "pid", "age", "state", "address"]
    assert line.split()[:4] == ["simulated", "simulated", "1", str(kept)]
    assert "idle, ends in 10 min" in line
    assert line.endswith("/v1")


def test_as_json_times_are_in_seconds(kept: int, capsys: pytest.CaptureFixture[str]) -> None:
    [engine] = listed(capsys)
    assert (engine["engine"], engine["model"], engine["version"], engine["pid"]) == (
        "simulated",
        "simulated",
        "1",
        kept,
    )
    assert engine["in_use"] is False
    assert isinstance(engine["left_seconds"], float)
    assert 0 < engine["left_seconds"] <= 600
    assert isinstance(engine["age_seconds"], float)
    assert str(engine["base_url"]).startswith("http://127.0.0.1:")


@pytest.mark.usefixtures("lease")
def test_one_that_a_run_uses_is_listed_as_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    [engine] = listed(capsys)
    assert (engine["in_use"], engine["left_seconds"]) == (True, None)
    command()
    assert "in use" in capsys.readouterr().out


@pytest.mark.usefixtures("own_tmp")
def test_without_any_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(capsys) == []
    assert command() == 0
    assert capsys.readouterr().out.startswith("no engine is kept; pytest --llmperf-keep-engine=SECONDS")
    assert command("stop") == 0
    assert capsys.readouterr().out == "no engine is kept\n"


@pytest.mark.parametrize("which", ["pid", "all", "default"])
def test_stopping_ends_the_engine_and_its_warden_and_removes_their_files(
    which: str, kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    note = note_of(kept)
    assert command("stop", *{"pid": [str(kept)], "all": ["all"], "default": []}[which]) == 0
    assert capsys.readouterr().out == f"simulated: simulated (pid {kept}) stopped\n"
    assert not is_running(kept)
    assert not is_running(note["warden"]["pid"])
    assert not Path(str(note["files"])).exists()
    assert listed(capsys) == []


def test_stopping_ends_an_engine_that_hears_nothing_any_more(kept: int) -> None:
    halt(kept)
    assert command("stop", str(kept)) == 0
    assert not is_running(kept)


@pytest.mark.usefixtures("lease")
def test_one_in_use_is_stopped_by_force_only(kept: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("stop") == 1
    assert "was not stopped: a run is using it; --force stops it anyway" in capsys.readouterr().err
    assert is_running(kept)
    assert command("stop", "--force") == 0
    assert not is_running(kept)


def test_a_pid_that_is_no_kept_engine_is_left_alone(kept: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("stop", str(os.getpid())) == 1
    assert f"no kept engine has pid {os.getpid()}" in capsys.readouterr().err
    assert is_running(kept)


def test_a_word_that_is_no_pid_is_a_mistake_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command("stop", "llamacpp")
    assert ended.value.code == 2
    assert "'llamacpp' is neither a pid nor all" in capsys.readouterr().err


def test_the_entry_of_one_that_ended_behind_our_back_is_removed_and_that_is_said(
    kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    os.kill(note_of(kept)["warden"]["pid"], signal.SIGKILL)  # the kernel ends the engine then
    until(lambda: not is_running(kept))
    assert command() == 0
    said = capsys.readouterr()
    assert f"simulated: the kept engine, pid {kept}, has ended by itself; its entry is removed" in said.err
    assert "no engine is kept" in said.out
    assert command() == 0
    assert capsys.readouterr().err == ""


def test_the_time_left_starts_anew_when_a_run_has_used_it(kept: int, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(str(note_of(kept)["files"])) / keep.LEASE
    os.utime(path, (1, 1))  # nobody came for years, as far as anybody can see
    [engine] = listed(capsys)
    assert engine["left_seconds"] == 0
    lease = keep.take_lease(note_of(kept))
    assert lease is not None
    until(lambda: path.stat().st_mtime > 1)  # its warden has seen the lease
    os.close(lease)
    [engine] = listed(capsys)
    assert isinstance(engine["left_seconds"], float)
    assert 0 < engine["left_seconds"] <= 600


def test_it_is_installed_as_a_command() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["scripts"]["pytest-llmperf"].partition(":")
    assert getattr(import_module(module), function) is main
