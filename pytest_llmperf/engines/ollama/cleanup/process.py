"""Takes note of what is loaded and made on a server for the tests, and starts the process that undoes it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.lifecycle.pid_files import find_directory
from pytest_llmperf.engines.ollama.cleanup.main import RESTORE_SECONDS
from pytest_llmperf.system.child_process import describe_end

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_llmperf.engines.ollama.cleanup.found import FoundModel

_PROGRAM = Path(__file__).with_name("main.py")
_SECONDS = 30.0
_KILL_SECONDS = 3.0


class Cleanup:
    """One user of the server at ``root``, a URL without ``/v1``, from here to :meth:`finish`.

    All users of this host share a list of what was loaded and made for them, and a lock on it. The last one has a
    process of its own undo it, also if it was killed. The list is removed then, and emptied if all were killed.

    Attributes:
        restored: after :meth:`finish`, one line for each model of others that was loaded again.
    """

    def __init__(self, root: str) -> None:
        path = find_directory() / f"ollama-{hashlib.sha256(root.encode()).hexdigest()[:16]}.jsonl"
        self._list = _lock(path)
        # It has no name in the file system: nothing is left behind, however this process ends.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self.restored: list[str] = []
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_PROGRAM), root, str(path), str(self._list)],
                stdin=subprocess.PIPE,
                stdout=self._said,
                stderr=self._log,
                pass_fds=(self._list,),
                start_new_session=True,
            )
        except BaseException:
            self._said.close()
            self._log.close()
            os.close(self._list)
            raise

    def note_load(self, model: str, seconds: float | None) -> None:
        """To be called before a model is loaded; ``seconds`` is how long it stays after each request, None if unknown.

        It is unloaded in the end unless another user of the server has had it stay longer.
        """
        self._note({"unload": model, "seconds": seconds})

    def note_new(self, model: str, manifest: str = "") -> None:
        """To be called before a model is made; ``manifest`` is the path of its file, if it is on this host."""
        self._note({"delete": model, "manifest": manifest})

    def note_found(self, models: Iterable[FoundModel], *, evicted: bool = False) -> None:
        """Takes note of models as others have loaded them: they are to be held so in the end.

        With ``evicted`` they may be put out by the load that follows, and only that is undone.
        """
        for found in models:
            if found.name not in self.loads:
                self._note({**found.to_task(), "evicted": evicted})

    def note_stayed(self, models: Iterable[str]) -> None:
        """To be called after a load, with the models that it has not put out."""
        for model in models:
            self._note({"stayed": model})

    def _note(self, task: dict[str, object]) -> None:
        os.write(self._list, f"{json.dumps(task)}\n".encode())

    @property
    def loads(self) -> set[str]:
        """The models that were loaded for users of this host."""
        return {str(task["unload"]) for task in self._tasks() if "unload" in task}

    def _tasks(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in os.pread(self._list, os.fstat(self._list).st_size, 0).splitlines()]

    def finish(self) -> str:
        """Returns when everything is undone, or left to another user; why that failed, or ""."""
        assert self._process.stdin is not None
        seconds = _SECONDS + RESTORE_SECONDS * sum("restore" in task for task in self._tasks())
        with contextlib.suppress(BrokenPipeError):
            # A line, since a process that a test has forked may hold the pipe as well.
            self._process.stdin.write(b"\n")
            self._process.stdin.close()
        self._process.send_signal(signal.SIGCONT)  # should it have been stopped
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            try:
                status = self._process.wait(_KILL_SECONDS)
            except subprocess.TimeoutExpired:
                status = -signal.SIGKILL
        self._said.seek(0)
        self.restored = self._said.read().decode(errors="replace").splitlines()
        self._said.close()
        self._log.seek(0)
        failure = describe_end(status, self._log.read()) if status else ""
        self._log.close()
        os.close(self._list)
        return failure


def _lock(path: Path) -> int:
    """A shared lock on the list, as an open file. Waits for a last user of before who is cleaning up."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
        fcntl.flock(lock, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(lock).st_ino:
                return lock
        os.close(lock)  # the list was removed meanwhile
