"""A server as a child process, in a session of its own, under a warden that ends it when pytest ends."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.lifecycle import lease, pid_files
from pytest_llmperf.engines.lifecycle.logs import read_tail
from pytest_llmperf.system.files.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STOP_GRACE_SECONDS = 5.0
_START_SECONDS = 60.0
_KILL_SECONDS = 2.0
_LONGEST_PID = 64
_WARDEN = Path(__file__).with_name("warden.py")


class ServerProcess:
    """One server under its warden; its output goes to ``NAME.log`` in ``directory``.

    ``pid`` leads the process group of the server, in the session that its warden leads.

    Raises:
        EngineError: the command cannot be run.
    """

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], directory: Path) -> None:
        self.log = directory / f"{name}.log"
        self.pid = 0
        with self.log.open("wb") as log:
            self._warden = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", str(_WARDEN), str(STOP_GRACE_SECONDS)),
                    *(str(directory), str(pid_files.find_directory()), *command),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=dict(environ),
                start_new_session=True,
            )
        try:
            self.pid = self._read_pid(name)
            pid_files.write_note(name, self._warden.pid, self.pid, directory)
        except BaseException:
            self.stop()
            raise

    def _read_pid(self, name: str) -> int:
        assert self._warden.stdout is not None
        # It is written in one piece.
        ready, _, _ = select.select([self._warden.stdout], [], [], _START_SECONDS)
        if not ready:
            raise EngineError(f"{name} cannot be started: its warden said nothing for {_START_SECONDS:g} s")
        first_line = os.read(self._warden.stdout.fileno(), _LONGEST_PID)
        if not first_line.strip():
            raise EngineError(f"{name} cannot be started: {read_tail(self.log, 1) or 'it was killed at once'}")
        return int(first_line)

    def status(self) -> int | None:
        """The exit status once the server has ended (128 + signal for a signal), None while it runs."""
        status = self._warden.poll()
        return status if status is None or status >= 0 else 128 - status

    def detach(self, name: str, kept: lease.Kept) -> lease.KeptProcess:
        """Leaves the server running until it has had no user for ``kept.seconds``; ``kept`` describes it to others."""
        assert self._warden.stdin is not None
        folder = self.log.parent
        write_whole(folder / lease.LEASE, kept.lock)
        note = pid_files.write_note(name, self._warden.pid, self.pid, folder, asdict(kept))
        order = {
            "seconds": kept.seconds,
            "lease": str(folder / lease.LEASE),
            "folder": str(folder),
            "note": str(note),
        }
        with contextlib.suppress(BrokenPipeError):
            self._warden.stdin.write(json.dumps(order).encode())
            self._warden.stdin.flush()
        self._close_pipes()
        # It is no longer ours to wait for; Popen would warn of it.
        self._warden.returncode = 0
        return lease.KeptProcess(json.loads(note.read_text(encoding="utf-8")), None)

    def stop(self) -> None:
        """Ends the server and all it started: terminate, wait, kill. May be called twice."""
        self._close_pipes()
        # A process that a test has forked may hold the lifeline as well, and the warden may have been stopped.
        for number in (signal.SIGTERM, signal.SIGCONT):
            self._warden.send_signal(number)
        try:
            self._warden.wait(STOP_GRACE_SECONDS + 5)
        except subprocess.TimeoutExpired:
            self._warden.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._warden.wait(_KILL_SECONDS)
        if self.pid:
            # For the case that the warden itself was killed, and did not end what the server had started.
            pid_files.kill_group(self.pid, self._warden.pid)
        pid_files.remove_note(self._warden.pid)

    def _close_pipes(self) -> None:
        for pipe in (self._warden.stdin, self._warden.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
