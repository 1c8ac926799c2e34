"""The pid files of running engines, by which engines of a killed pytest are ended.

A warden ends its engine when pytest dies. These files are for the case that both are killed at once. A
process is known by its pid and its start, and a group by its session as well, so a reused pid is never killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.api.spec import EngineError, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# A socket's path has 103 characters at most where it has the fewest (macOS): vLLM's have 37 of their own, and lie in
# a folder with 4.
_LONGEST_PATH = 103 - 37 - 4
# What a folder in /tmp may have of the name of its engine, which may be a long label.
_LONGEST_NAME = 24


def find_directory() -> Path:
    """The folder of the pid files: one per user, that no other user may write to.

    Raises:
        EngineError: its name is taken by another user.
    """
    path = Path(tempfile.gettempdir()) / f"pytest-llmperf-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if path.is_symlink() or not path.is_dir() or path.stat().st_uid != os.getuid():
        raise EngineError(f"{path} is not a folder of this user: remove it, or set TMPDIR to a folder of your own")
    return path


def create_folder(name: str) -> Path:
    """A new folder for the files of an engine, with a path short enough for the sockets in it."""
    prefix = f"llmperf-{name[:_LONGEST_NAME]}-"
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    if len(os.fsencode(folder)) <= _LONGEST_PATH:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))


def write_note(name: str, warden: int, engine: int, files: Path, kept: Mapping[str, Any] | None = None) -> Path:
    """Writes the pid file of a running engine and returns its path; ``files`` is the folder to remove with it.

    ``kept`` says what a later run may find there, for an engine that outlives its pytest.
    """
    processes = {"owner": os.getpid(), "warden": warden, "engine": engine}
    found = {role: {"pid": pid, "started": _identify(pid)} for role, pid in processes.items()}
    path = _path(warden)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"name": name, "files": str(files), "kept": kept, **found}), encoding="utf-8")
    temporary.replace(path)
    return path


def remove_note(warden: int) -> None:
    """Removes the pid file of an engine that has ended."""
    _path(warden).unlink(missing_ok=True)


def clean_up(progress: Progress) -> None:
    """Ends engines whose pytest has ended, or whose warden has if they were kept, and removes their files."""
    for path in sorted(find_directory().glob("*.json")):
        found = _read(path)
        if found and not is_same(found["warden" if found["kept"] else "owner"]):
            _end(found, progress)
            path.unlink(missing_ok=True)


def list_kept_notes() -> list[dict[str, Any]]:
    """The pid files of engines that outlive the run that started them."""
    notes = [_read(path) for path in sorted(find_directory().glob("*.json"))]
    return [note for note in notes if note and note["kept"] and is_same(note["warden"]) and is_same(note["engine"])]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None  # its pytest has just ended it
    return found


def _end(found: dict[str, Any], progress: Progress) -> None:
    warden, engine = found["warden"], found["engine"]
    taken_over = _identify(engine["pid"]) is not None and not is_same(engine)
    if not taken_over and kill_group(engine["pid"], warden["pid"]):
        progress(f"{found['name']}: ended pid {engine['pid']}, left over from a run that was killed")
    elif found["kept"]:
        progress(f"{found['name']}: the kept engine, pid {engine['pid']}, has ended by itself; its entry is removed")
    if is_same(warden):
        with contextlib.suppress(ProcessLookupError):
            os.kill(warden["pid"], signal.SIGKILL)
    shutil.rmtree(found["files"], ignore_errors=True)


def kill_group(group: int, session: int) -> bool:
    """Kills what still runs in a process group if it belongs to this session. Returns whether anything did."""
    import psutil

    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == group and os.getsid(pid) == session and _identify(pid) is not None:
                os.killpg(group, signal.SIGKILL)
                return True
    return False


def _path(warden: int) -> Path:
    return find_directory() / f"{warden}.json"


def is_same(process: dict[str, Any]) -> bool:
    """Whether a process of a pid file, ``{"pid", "started"}``, still runs."""
    started = process["started"]
    return started is not None and _identify(process["pid"]) == started


def _identify(pid: int) -> str | None:
    """Identifies a process beyond its pid, by its start time; None once it has ended.

    On Linux that is the boot and the clock ticks since it: a time of day would change when the clock is set.
    """
    if _BOOT_ID.exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        boot = _BOOT_ID.read_text(encoding="utf-8").strip()
        return None if fields[0] in (b"Z", b"X") else f"{boot} {fields[19].decode()}"
    import psutil

    try:
        found = psutil.Process(pid)
        return None if found.status() == psutil.STATUS_ZOMBIE else str(found.create_time())
    except psutil.Error:
        return None
