"""How a server ends whose lifeline another process holds as well, or whose warden was stopped."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.lifecycle import server_process
from pytest_llmperf.engines.lifecycle.server_process import ServerProcess
from tests.helpers.waiting import halt, until
from tests.helpers.watching import runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Ends with this status if it is asked to, and with another if it is killed.
SERVER = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess("scripted", [sys.executable, "-c", SERVER], os.environ, tmp_path)
    until(lambda: b"ready" in server.log.read_bytes())
    yield server
    server.stop()


def test_a_process_that_a_test_forked_and_left_does_not_keep_a_server_from_ending_by_itself(
    server: ServerProcess,
) -> None:
    forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)
    forked.start()
    try:
        server.stop()
        assert server.status() == 5
        assert forked.is_alive()
    finally:
        forked.kill()
        forked.join(60)


def test_a_server_ends_by_itself_though_its_warden_was_stopped(server: ServerProcess) -> None:
    halt(server._warden.pid)
    server.stop()
    assert server.status() == 5


def test_a_warden_that_cannot_be_ended_is_left_behind_and_its_server_killed(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    halt(server._warden.pid)
    for name in ("STOP_GRACE_SECONDS", "_KILL_SECONDS"):
        monkeypatch.setattr(server_process, name, -5.0 if name == "STOP_GRACE_SECONDS" else 0.0)
    monkeypatch.setattr(server._warden, "send_signal", lambda _: None)
    monkeypatch.setattr(server._warden, "kill", lambda: None)
    server.stop()
    assert not runs(server.pid)
    os.kill(server._warden.pid, signal.SIGCONT)
    monkeypatch.undo()


def test_a_warden_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = tmp_path / "warden.py"
    silent.write_text("import sys; sys.stdin.read()", encoding="utf-8")
    monkeypatch.setattr(server_process, "_WARDEN", silent)
    monkeypatch.setattr(server_process, "_START_SECONDS", 0.1)
    with pytest.raises(EngineError, match=r"scripted cannot be started: its warden said nothing for 0\.1 s"):
        ServerProcess("scripted", ["true"], os.environ, tmp_path)
