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
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.lifecycle import lease, pid_files
from pytest_llmperf.system.files.faults import explain_os_error
from pytest_llmperf.system.files.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PREFIX = "run-"
# A folder that is not locked yet has this name, by which no other run takes it for one of an owner that was killed.
_NEW_PREFIX = "new-run-"
_NEW_SECONDS = 3600.0
_LOCK, _MEASURING = "lock", "measuring"


class OwnRun:
    """A run of which this process is the owner. ``folder`` is for those who take part in it.

    Raises:
        EngineError: its folder cannot be made.
    """

    def __init__(self) -> None:
        directory = pid_files.find_directory()
        _remove_left(directory)
        try:
            self.folder, self._lock = _make_locked(directory)
        except OSError as error:
            raise EngineError(f"the folder of the run cannot be made: {explain_os_error(error)}") from error

    def close(self) -> None:
        """Stops the engines of this run, except those kept for the next one."""
        try:
            lease.end_run(find_lock(self.folder))
        finally:
            os.close(self._lock)
            shutil.rmtree(self.folder, ignore_errors=True)


def _make_locked(directory: Path) -> tuple[str, int]:
    """A new folder of a run and its lock, held by this process before others can see the folder.

    Raises:
        OSError: it cannot be made.
    """
    made = tempfile.mkdtemp(prefix=_NEW_PREFIX, dir=directory)
    lock = -1
    try:
        lock = os.open(find_lock(made), os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = os.path.join(directory, os.path.basename(made).removeprefix("new-"))
        os.rename(made, folder)
    except BaseException:
        if lock >= 0:
            os.close(lock)
        shutil.rmtree(made, ignore_errors=True)
        raise
    return folder, lock


def _remove_left(directory: Path) -> None:
    """Removes folders of runs whose owner was killed."""
    for path in directory.glob(f"{_PREFIX}*"):
        if not lease.is_locked(path / _LOCK):
            shutil.rmtree(path, ignore_errors=True)
    for path in directory.glob(f"{_NEW_PREFIX}*"):
        with contextlib.suppress(OSError):
            if abs(time.time() - path.stat().st_mtime) > _NEW_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


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
            raise EngineError(*_read(failure))
        try:
            yield
        except EngineError as error:
            _write(failure, [str(error), error.log_tail, error.log_path])
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
            _write(path, found)
        return _read(path)


@contextlib.contextmanager
def open_list(folder: str, asked: Mapping[str, Any], name: str) -> Iterator[list[Any]]:
    """A list of plain values that the processes of a run share for an engine; what the block makes of it is kept."""
    path = _file(folder, asked, name)
    with _locked(_file(folder, asked, f"{name}-lock")):
        found = _read(path) if path.exists() else []
        yield found
        _write(path, found)


def _read(path: Path) -> list[Any]:
    """What a process of the run has written.

    Raises:
        EngineError: the file is not there, or is no such list.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"{path} of this run cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(found, list):
        raise EngineError(f"{path} of this run cannot be read: it is no list")
    return found


def _write(path: Path, found: list[Any]) -> None:
    try:
        write_whole(path, json.dumps(found))
    except OSError as error:
        raise EngineError(f"{path} of this run cannot be written: {explain_os_error(error)}") from error


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
    """Holds the lock on a file in the folder of a run.

    Raises:
        EngineError: the folder was removed, or cannot be written.
    """
    with _open(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _open(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8")
    except FileNotFoundError as error:
        raise EngineError(
            f"the folder of this run, {path.parent}, was removed while it ran: let what clears temporary files spare "
            "it, or set TMPDIR to a folder that nothing clears"
        ) from error
    except OSError as error:
        raise EngineError(f"the folder of this run cannot be written: {explain_os_error(error)}") from error
