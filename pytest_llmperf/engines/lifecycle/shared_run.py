"""What the processes of one run share: engines, each started by the first that needs it, and turns to measure.

A run has a folder. Its owner holds the lock on a file in it for as long as the run lasts, and the kernel releases it
however the owner ends: wardens of shared engines honour nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.lifecycle import lease, pid_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PREFIX = "run-"
_LOCK, _MEASURING = "lock", "measuring"


class OwnRun:
    """A run of which this process is the owner. ``folder`` is for those who take part in it."""

    def __init__(self) -> None:
        for path in pid_files.find_directory().glob(f"{_PREFIX}*"):
            if not lease.is_locked(path / _LOCK):
                shutil.rmtree(path, ignore_errors=True)  # its owner was killed
        self.folder = tempfile.mkdtemp(prefix=_PREFIX, dir=pid_files.find_directory())
        self._lock = os.open(find_lock(self.folder), os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Stops the engines of this run, except those kept for the next one."""
        try:
            lease.end_run(find_lock(self.folder))
        finally:
            os.close(self._lock)
            shutil.rmtree(self.folder, ignore_errors=True)


def is_here(folder: str) -> bool:
    """Whether the owner of this run is a process of this host, and runs."""
    return bool(folder) and lease.is_locked(Path(find_lock(folder)))


def find_lock(folder: str) -> str:
    """The path of the file that the owner of a run holds locked."""
    return os.path.join(folder, _LOCK)


@contextlib.contextmanager
def start_once(folder: str, asked: Mapping[str, Any]) -> Iterator[None]:
    """Lets one process of the run at a time start, or find, an engine; without a run it does nothing.

    Raises:
        EngineError: it could not be started before, for this reason.
    """
    if not folder:
        yield
        return
    failure = _file(folder, asked, "failed")
    with _locked(_file(folder, asked, "start")):
        if failure.exists():
            raise EngineError(*json.loads(failure.read_text(encoding="utf-8")))
        try:
            yield
        except EngineError as error:
            failure.write_text(json.dumps([str(error), error.log_tail, error.log_path]), encoding="utf-8")
            raise


def agree(folder: str, asked: Mapping[str, Any], found: list[Any]) -> list[Any]:
    """Makes all processes of a run use the same facts about an engine: those that the first process found.

    Returns them as plain values. The first process passes its own as ``found``; without a run that is the result.
    """
    if not folder:
        return found
    path = _file(folder, asked, "found")
    with _locked(_file(folder, asked, "lock")):
        if not path.exists():
            path.write_text(json.dumps(found), encoding="utf-8")
        first: list[Any] = json.loads(path.read_text(encoding="utf-8"))
        return first


@contextlib.contextmanager
def open_list(folder: str, asked: Mapping[str, Any], name: str) -> Iterator[list[Any]]:
    """A list of plain values that the processes of a run share for an engine; what the block makes of it is kept."""
    path = _file(folder, asked, name)
    with _locked(_file(folder, asked, f"{name}-lock")):
        found: list[Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        yield found
        path.write_text(json.dumps(found), encoding="utf-8")


def _file(folder: str, asked: Mapping[str, Any], suffix: str) -> Path:
    name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    return Path(folder) / f"{name}.{suffix}"


@contextlib.contextmanager
def lock_measuring(folder: str) -> Iterator[None]:
    """Keeps other processes of the run from measuring meanwhile."""
    with _locked(Path(folder) / _MEASURING):
        yield


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
