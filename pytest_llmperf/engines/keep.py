"""Engines that outlive the run that started them, found again by the next (``--llmperf-keep-engine``).

Whoever uses a kept engine holds a lock on its lease. The kernel takes the lock back when that process ends, however it
ends, so the warden need not know who it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines import leftovers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.base import EngineSpec

LEASE = "lease"
UNKNOWN_STATUS = -1
_STOP_SECONDS = 10.0
_LOCK_TRIES = 20


def fingerprint(spec: EngineSpec) -> dict[str, Any]:
    """What must be the same for a running engine to be the one asked for, as plain values."""
    stat = Path(spec.model).expanduser().stat() if spec.model and Path(spec.model).expanduser().is_file() else None
    return {
        "engine": spec.engine,
        "model": spec.model,
        "file": [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns] if stat else None,
        "args": dict(sorted(spec.args.items())),
        "binary": spec.binary,
        "devices": os.environ.get("CUDA_VISIBLE_DEVICES") if spec.visible_devices is None else spec.visible_devices,
    }


def find(spec: EngineSpec) -> KeptProcess | None:
    """A running engine of this spec that nobody else uses, now leased to us."""
    wanted = fingerprint(spec)
    for found in leftovers.kept_engines():
        if found["kept"]["spec"] == wanted:
            lease = _lock(Path(found["files"]) / LEASE)
            if lease is not None:
                return KeptProcess(found, lease)
    return None


def _lock(path: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError):  # its warden has just ended it
        lease = os.open(path, os.O_RDWR)
        for _ in range(_LOCK_TRIES):  # the warden holds the lock for a moment whenever it looks
            try:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.005)
            else:
                return lease
        os.close(lease)
    return None


class KeptProcess:
    """A server that an earlier run has started, as :class:`ServerProcess` is one of this run.

    ``kept`` is what that run noted of it.
    """

    def __init__(self, found: Mapping[str, Any], lease: int) -> None:
        self.kept: dict[str, Any] = found["kept"]
        self.pid: int = found["engine"]["pid"]
        self.log = Path(found["files"]) / f"{found['name']}.log"
        self._engine, self._warden = found["engine"], found["warden"]
        self._lease: int | None = lease

    def status(self) -> int | None:
        """None while it runs; how it ended is known to its warden only."""
        return None if leftovers.is_same(self._engine) else UNKNOWN_STATUS

    def leave(self, name: str, seconds: float, kept: Mapping[str, Any]) -> None:
        """Lets it run on, for as long as the run that started it has said."""
        self._release()

    def stop(self) -> None:
        """Ends the server and all it started. May be called twice."""
        if leftovers.is_same(self._warden):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._warden["pid"], signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while leftovers.is_same(self._warden) and time.monotonic() < deadline:
            time.sleep(0.01)
        leftovers.kill_group(self.pid, self._warden["pid"])
        leftovers.forget(self._warden["pid"])
        self._release()

    def _release(self) -> None:
        if self._lease is not None:
            os.close(self._lease)
            self._lease = None
