"""Engines that outlive the process that started them, found again by the next run, or by others of the same run.

The user of a kept engine holds a lock on its lease, or has written the path of a lock to honour instead: that is how
the processes of one run share an engine. The kernel releases a lock when its process ends, however it ends, so the
warden needs to know no pid.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.lifecycle import pid_files
from pytest_llmperf.system.files.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.api.spec import Progress
    from pytest_llmperf.engines.lifecycle.identity import Identity

LEASE = "lease"
STATUS = "status"
UNKNOWN_STATUS = -1
_STOP_SECONDS = 20.0
_KILL_SECONDS = 5.0
_LOCK_TRIES = 20
_STATUS_SECONDS = 0.5


@dataclass(frozen=True)
class Kept:
    """What a process notes of an engine that it detaches from, for the process that finds it.

    ``seconds`` is how long the engine stays without a user. ``lock`` is that of the run which shares it; "" for one
    that is kept for the next run. ``before`` is what was known of the devices before it started.
    """

    identity: Identity
    engine: str
    model: str
    version: str
    base_url: str
    seconds: float
    lock: str = ""
    startup_time: float | None = None
    before: Mapping[str, Any] = field(default_factory=dict)


def find(wanted: Identity, progress: Progress, lock: str = "") -> KeptProcess | None:
    """A running engine that is the one wanted and that no other run uses, now leased to us.

    With ``lock`` it is leased to all processes of the run whose owner holds it. Stops each engine whose model or
    program has changed since its start, and reports each to ``progress``.
    """
    for note in pid_files.list_kept_notes():
        found = note["kept"].get("identity", {})
        if found.get("asked") != wanted.asked:
            continue
        if lock and _holder(note) == lock:
            return KeptProcess(note, None)
        # An engine that a run shared and that is not kept ends with the run, or a moment later.
        lease = take_lease(note) if note["kept"]["seconds"] else None
        if lease is None:
            continue
        process = KeptProcess(note, lease)
        if lock:
            process.share(lock)
        changed = wanted.changes_since(found)
        if not changed:
            return process
        process.stop_and_remove()
        progress(f"{note['name']}: the engine kept from an earlier run (pid {process.pid}) was stopped: {changed}")
    return None


def take_lease(note: Mapping[str, Any]) -> int | None:
    """The lock on a kept engine, as an open file; None while another run uses it, or if it has just ended."""
    lease = _lock(_lease(note))
    if lease is not None and (holder := _holder(note)) and is_locked(Path(holder)):
        os.close(lease)
        return None
    return lease


def end_run(lock: str) -> None:
    """Stops the engines that are shared under this lock; those that are kept are left running."""
    for note in pid_files.list_kept_notes():
        if _holder(note) != lock:
            continue
        if note["kept"]["seconds"]:
            with contextlib.suppress(FileNotFoundError):  # it has just ended
                _lease(note).write_text("", encoding="utf-8")
        else:
            KeptProcess(note, None).stop_and_remove()
    # Those whose warden was killed are not among them.
    pid_files.clean_up(lambda _: None)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock on this file right now."""
    lock = _lock(path, tries=1)
    if lock is not None:
        os.close(lock)
    return lock is None and path.exists()


def _lease(note: Mapping[str, Any]) -> Path:
    return Path(note["files"]) / LEASE


def _holder(note: Mapping[str, Any]) -> str:
    """The path of the lock to honour beside that on the lease; "" if there is none."""
    try:
        return _lease(note).read_text(encoding="utf-8")
    except FileNotFoundError:  # it has just ended
        return ""


def _lock(path: Path, tries: int = _LOCK_TRIES) -> int | None:
    with contextlib.suppress(FileNotFoundError):  # its warden has just ended it
        lease = os.open(path, os.O_RDWR)
        for left in reversed(range(tries)):  # the warden holds the lock for a moment whenever it looks
            try:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if left:
                    time.sleep(0.005)
            else:
                return lease
        os.close(lease)
    return None


class KeptProcess:
    """A server that an earlier run has started, as :class:`ServerProcess` is one of this run.

    ``kept`` is what that run noted of it; ``lease`` our lock on it, None without one.
    """

    def __init__(self, found: Mapping[str, Any], lease: int | None) -> None:
        self.kept: dict[str, Any] = found["kept"]
        self.pid: int = found["engine"]["pid"]
        self.log = Path(found["files"]) / f"{found['name']}.log"
        self._engine, self._warden = found["engine"], found["warden"]
        self._lease: int | None = lease

    def status(self) -> int | None:
        """None while it runs; then its exit status, which its warden has noted unless it was killed as well."""
        if pid_files.is_same(self._engine):
            return None
        deadline = time.monotonic() + _STATUS_SECONDS
        while pid_files.is_same(self._warden) and time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):
                return int((self.log.parent / STATUS).read_text(encoding="utf-8"))
            time.sleep(0.01)
        return UNKNOWN_STATUS

    def share(self, lock: str) -> None:
        """Leases it to all processes of the run whose owner holds ``lock``."""
        write_whole(self.log.parent / LEASE, lock)
        self._release()

    def detach(self, name: str, kept: Kept) -> KeptProcess:
        """Leaves it running, for as long as the run that started it has said."""
        self._release()
        return self

    def stop(self) -> None:
        """Ends the server and all it started. May be called twice."""
        self._tell_warden(signal.SIGTERM)
        self._wait_for_the_end(_STOP_SECONDS)
        # For a warden that was killed or stopped.
        pid_files.kill_group(self.pid, self._warden["pid"])
        self._tell_warden(signal.SIGKILL)
        self._wait_for_the_end(_KILL_SECONDS)
        pid_files.remove_note(self._warden["pid"])
        self._release()

    def _tell_warden(self, number: int) -> None:
        if pid_files.is_same(self._warden):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._warden["pid"], number)

    def _wait_for_the_end(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while any(map(pid_files.is_same, (self._engine, self._warden))) and time.monotonic() < deadline:
            time.sleep(0.01)

    def stop_and_remove(self) -> None:
        """Stops it and removes its files."""
        self.stop()
        shutil.rmtree(self.log.parent, ignore_errors=True)

    def _release(self) -> None:
        if self._lease is not None:
            os.close(self._lease)
            self._lease = None
