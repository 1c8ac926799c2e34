from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.api.state import EngineState, EngineStatus
from pytest_llmperf.engines.lifecycle import server_deployment, server_process
from pytest_llmperf.engines.lifecycle.http import http_get, read_announced_url
from pytest_llmperf.engines.lifecycle.server_deployment import ServerDeployment, describe_status
from tests.helpers.engine_processes import (
    STUBBORN,
    ScriptedDeployment,
    ScriptedEngine,
    child_of,
    own_tmp,
    parent_of_server,
    runs,
)
from tests.helpers.waiting import read_line, until

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["own_tmp"]
SPEC = EngineSpec("scripted", model="m", startup_timeout=60)


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process, "STOP_GRACE_SECONDS", 0.2)


@pytest.fixture
def engine(own_tmp: Path) -> Iterator[ScriptedDeployment]:
    engine = ScriptedDeployment(SPEC)
    yield engine
    engine.stop()
    assert_nothing_left(own_tmp)


def assert_nothing_left(folder: Path) -> None:
    """No run directory and no pid file. The log of a start that failed is kept."""
    ours = folder / f"pytest-llmperf-{os.getuid()}"
    kept = {ours, ours / "logs", *(ours / "logs").glob("*.log")}
    assert [path for path in folder.rglob("*") if path not in kept] == []


def start(engine: ServerDeployment) -> list[str]:
    said: list[str] = []
    engine.start(said.append)
    return said


def crash(engine: ServerDeployment) -> None:
    with pytest.raises(OSError, match="the server closed the connection without an answer"):
        http_get(f"{engine.base_url.removesuffix('/v1')}/crash")
    until(lambda: engine.read_status().reason)


def test_an_engine_that_started_says_so_and_answers(engine: ScriptedDeployment) -> None:
    said = start(engine)
    assert said[0] == "scripted: loading m"
    assert said[-1].startswith("scripted: m ready after ")
    assert engine.read_status().reason == ""
    assert engine.startup_time is not None
    assert engine.startup_time > 0
    assert http_get(f"{engine.base_url}/models") == b""


def test_an_engine_without_a_model_starts_and_loads_nothing(own_tmp: Path) -> None:
    engine = ScriptedDeployment(replace(SPEC, model=None))
    try:
        said = start(engine)
    finally:
        engine.stop()
    assert said[0] == "scripted: starting"
    assert said[-1].startswith("scripted: ready after ")


def test_the_server_is_in_a_session_and_a_process_group_of_its_own(engine: ScriptedDeployment) -> None:
    start(engine)
    (pid,) = engine.pids
    assert os.getpgid(pid) == pid
    assert os.getsid(pid) not in (os.getsid(0), os.getpid())


def test_stopping_leaves_no_process_no_folder_and_no_pid_file_and_may_be_repeated(
    engine: ScriptedDeployment, own_tmp: Path
) -> None:
    start(engine)
    (pid,) = engine.pids
    engine.stop()
    assert not runs(pid)
    assert engine.pids == ()
    assert engine.read_status().reason == "scripted was stopped"
    assert "listening" in engine.log_tail()
    assert_nothing_left(own_tmp)
    engine.stop()


def test_unloading_ends_the_server_and_waking_the_engine_starts_another(own_tmp: Path) -> None:
    engine = ScriptedEngine(SPEC)
    try:
        engine.start()
        (before,) = engine.pids
        engine.unload()
        assert not runs(before)
        assert engine.has_ended_to_unload
        assert engine.read_status() == EngineStatus(EngineState.UNLOADED, "scripted was left without its model")
        engine.wake()
        assert engine.pids not in ((), (before,))
        assert engine.state is EngineState.READY
    finally:
        engine.stop()
    assert_nothing_left(own_tmp)


def test_a_crash_is_seen_with_its_status(engine: ScriptedDeployment) -> None:
    start(engine)
    crash(engine)
    assert engine.read_status().reason == "scripted ended with status 9"
    assert engine.pids == ()


def test_the_chosen_devices_reach_the_server(own_tmp: Path) -> None:
    engine = ScriptedDeployment(EngineSpec("scripted", visible_devices="GPU-1,GPU-2", startup_timeout=60))
    try:
        start(engine)
        until(lambda: "listening GPU-1,GPU-2" in engine.log_tail())
    finally:
        engine.stop()
    assert_nothing_left(own_tmp)


def test_memory_counts_the_servers_children(own_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hungry = "import os, signal\nif os.fork() == 0:\n    held = bytearray(b'x') * (64 << 20)\n    signal.pause()\n"
    monkeypatch.setattr(ScriptedDeployment, "script", hungry + ScriptedDeployment.script)
    engine = ScriptedEngine(SPEC)
    try:
        engine.start()
        until(lambda: (engine.memory().resident or 0) > 64 << 20)
        assert engine.memory().weights is None
    finally:
        engine.stop()


def test_a_server_that_ends_while_starting_gives_its_status_and_the_end_of_its_log(
    engine: ScriptedDeployment, own_tmp: Path
) -> None:
    engine.script = "print('\\n'.join(f'line {n}' for n in range(100))); print('no such model'); raise SystemExit(3)"
    with pytest.raises(EngineError, match=r"^scripted ended with status 3 while starting$") as caught:
        start(engine)
    assert caught.value.log_tail.splitlines()[-1] == "no such model"
    assert len(caught.value.log_tail.splitlines()) == 20
    assert len(Path(caught.value.log_path).read_text(encoding="utf-8").splitlines()) == 101
    assert engine.log_tail() == caught.value.log_tail
    assert_nothing_left(own_tmp)


def test_a_server_that_is_killed_while_starting_gives_the_name_of_the_signal(engine: ScriptedDeployment) -> None:
    engine.script = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(EngineError, match=r"^scripted ended with SIGKILL while starting$"):
        start(engine)


def test_a_server_that_is_never_ready_is_given_up_with_the_end_of_its_log(own_tmp: Path) -> None:
    class Forever(ScriptedDeployment):
        script = "print('still thinking', flush=True); import signal; signal.pause()"

        def find_url(self, folder: Path) -> str | None:
            until(lambda: self.log_tail())
            return None

    engine = Forever(EngineSpec("scripted", startup_timeout=0.3))
    with pytest.raises(EngineError, match=r"not ready after 0\.3 s; --llmperf-startup-timeout=SECONDS") as caught:
        start(engine)
    assert caught.value.log_tail == "still thinking"
    assert "\n" not in str(caught.value)
    assert engine.pids == ()
    assert_nothing_left(own_tmp)


def test_progress_is_told_again_and_again_with_the_last_line_of_the_log(
    engine: ScriptedDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_deployment, "PROGRESS_SECONDS", 0.01)
    said: list[str] = []
    slow = "import os, sys, time\nprint('tensor 7', flush=True)\nwhile not os.path.exists(sys.argv[-1] + '/go'):\n"
    engine.script = slow + "    time.sleep(0.01)\n" + ScriptedDeployment.script

    def progress(text: str) -> None:
        said.append(text)
        loading = [line for line in said if "still loading" in line]
        if len(loading) >= 3 and "(tensor 7)" in loading[-1]:
            (engine.directories[-1] / "go").touch()

    engine.start(progress)
    assert said[1].startswith("scripted: still loading after ")


def test_progress_is_due_every_ten_seconds_at_the_latest() -> None:
    assert server_deployment.PROGRESS_SECONDS <= 10


def test_a_command_that_cannot_be_run_is_one_clear_line(own_tmp: Path) -> None:
    class Misnamed(ScriptedDeployment):
        def command(self, folder: Path) -> list[str]:
            return ["/no/such/server"]

    with pytest.raises(EngineError) as caught:
        start(Misnamed(SPEC))
    assert str(caught.value) == "scripted cannot be started: cannot run /no/such/server (No such file or directory)"
    assert_nothing_left(own_tmp)


def test_an_interrupt_while_starting_ends_the_server(engine: ScriptedDeployment, own_tmp: Path) -> None:
    def interrupt(text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.start(interrupt)
    assert engine.pids == ()
    assert_nothing_left(own_tmp)


@pytest.mark.usefixtures("own_tmp")
def test_a_killed_pytest_takes_the_server_and_its_deaf_child_with_it(tmp_path: Path) -> None:
    with parent_of_server(tmp_path) as (parent, server):
        child = child_of(tmp_path)
        parent.kill()
        until(lambda: not runs(server) and not runs(child))


@pytest.mark.usefixtures("own_tmp")
def test_an_interrupt_at_the_terminal_reaches_pytest_but_not_the_server(tmp_path: Path) -> None:
    with parent_of_server(tmp_path) as (parent, server):
        assert parent.stdin is not None
        os.killpg(parent.pid, signal.SIGINT)
        assert read_line(parent.stdout) == "interrupted\n"
        parent.stdin.write("status\n")
        parent.stdin.flush()
        assert read_line(parent.stdout) == "None\n"
        assert runs(server)


def test_stopping_ends_the_children_that_outlived_a_killed_warden(engine: ScriptedDeployment) -> None:
    engine.script = STUBBORN.replace("while True:\n    signal.pause()", "") + (
        "if os.getpgid(0) != os.getpid():\n    while True: signal.pause()\n" + ScriptedDeployment.script
    )
    start(engine)
    child = child_of(engine.directories[-1])
    os.kill(os.getsid(engine.pids[0]), signal.SIGKILL)
    until(lambda: engine.read_status().reason)
    assert engine.read_status().reason == "scripted ended with SIGKILL"
    assert runs(child)
    engine.stop()
    until(lambda: not runs(child))


def test_only_the_end_of_a_long_log_is_read(engine: ScriptedDeployment) -> None:
    engine.script = "print('x' * (1 << 20)); print('the end'); raise SystemExit(1)"
    with pytest.raises(EngineError) as caught:
        start(engine)
    assert caught.value.log_tail.endswith("the end")
    assert len(caught.value.log_tail) <= 1 << 16


@pytest.mark.parametrize(("status", "words"), [(0, "status 0"), (3, "status 3"), (137, "SIGKILL"), (255, "status 255")])
def test_a_status_is_described(status: int, words: str) -> None:
    assert describe_status(status) == words


def test_an_address_is_unknown_until_it_is_announced(tmp_path: Path) -> None:
    assert read_announced_url(tmp_path / "announce") is None
    (tmp_path / "announce").write_text("http://127.0.0.1:1\n", encoding="utf-8")
    assert read_announced_url(tmp_path / "announce") == "http://127.0.0.1:1/v1"
