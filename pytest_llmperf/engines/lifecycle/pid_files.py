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
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.api.spec import EngineError, Progress
from pytest_llmperf.system.files.faults import explain_os_error
from pytest_llmperf.system.files.whole import DRAFT_SUFFIX, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# A socket's path has 103 characters at most where it has the fewest (macOS): vLLM's have 37 of their own, and lie in
# a folder with 4.
_LONGEST_PATH = 103 - 37 - 4
# What a folder in /tmp may have of the name of its engine, which may be a long label.
_LONGEST_NAME = 24
_ROLES = ("owner", "warden", "engine")
_KEPT = frozenset({"seconds", "version", "base_url"})
# A writer that was killed leaves a draft; that of one that still writes is younger.
_DRAFTS_KEPT_S = 3600.0


def find_directory() -> Path:
    """The folder of the pid files: one per user, that no other user may write to.

    Raises:
        EngineError: its name is taken by another user, or it cannot be made.
    """
    try:
        path = Path(tempfile.gettempdir()) / f"pytest-llmperf-{os.getuid()}"
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
    except OSError as error:
        raise EngineError(f"the folder for pid files cannot be made: {explain_os_error(error)}") from error
    if path.is_symlink() or not path.is_dir() or path.stat().st_uid != os.getuid():
        raise EngineError(f"{path} is not a folder of this user: remove it, or set TMPDIR to a folder of your own")
    return path


def create_folder(name: str) -> Path:
    """A new folder for the files of an engine, with a path short enough for the sockets in it.

    Raises:
        OSError: it cannot be made.
    """
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
    path = find_note(warden)
    write_whole(path, json.dumps({"name": name, "files": str(files), "kept": kept, **found}))
    return path


def remove_note(warden: int) -> None:
    """Removes the pid file of an engine that has ended."""
    find_note(warden).unlink(missing_ok=True)


def clean_up(progress: Progress) -> None:
    """Ends engines whose pytest has ended, or whose warden has if they were kept, and removes their files.

    A pid file that cannot be read is removed, and named to ``progress``.
    """
    _remove_drafts()
    for path in sorted(find_directory().glob("*.json")):
        found = _read(path, progress)
        if found and not is_same(found["warden" if found["kept"] else "owner"]):
            _end(found, progress)
            path.unlink(missing_ok=True)


def list_kept_notes() -> list[dict[str, Any]]:
    """The pid files of engines that outlive the run that started them."""
    notes = [_read(path) for path in sorted(find_directory().glob("*.json"))]
    return [note for note in notes if note and note["kept"] and is_same(note["warden"]) and is_same(note["engine"])]


def _read(path: Path, progress: Progress | None = None) -> dict[str, Any] | None:
    """A pid file; None if it has just been removed, or cannot be read: it is then removed if there is a ``progress``.

    A host that lost power may have left an empty one, and another version one of another shape.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return _check(found)
    except FileNotFoundError:
        return None  # its pytest has just ended it
    except (OSError, ValueError, RecursionError) as error:
        if progress is not None:
            progress(f"{path} cannot be read, and is removed: {_describe(error)}")
            with contextlib.suppress(OSError):
                path.unlink() if not path.is_dir() else shutil.rmtree(path, ignore_errors=True)
        return None


def _check(found: Any) -> dict[str, Any]:
    """What was read, if it is a pid file.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(found, dict):
        raise ValueError("it is no pid file")
    named = isinstance(found.get("name"), str) and isinstance(found.get("files"), str)
    if not (named and all(_is_process(found.get(role)) for role in _ROLES)):
        raise ValueError("it names no engine, folder and processes")
    kept = found.setdefault("kept", None)
    if kept is not None and not (isinstance(kept, dict) and kept.keys() >= _KEPT and _is_identity(kept)):
        raise ValueError("it does not say how long its engine is kept")
    return found


def _is_process(found: object) -> bool:
    if not isinstance(found, dict) or not isinstance(found.get("started", 0), str | None):
        return False
    return type(found.get("pid")) is int and found["pid"] > 0


def _is_identity(kept: dict[str, Any]) -> bool:
    return isinstance(kept["seconds"], int | float) and isinstance(kept.get("identity", {}), dict)


def _describe(error: Exception) -> str:
    if isinstance(error, OSError):
        return explain_os_error(error)
    return "it is empty or cut" if isinstance(error, json.JSONDecodeError) else " ".join(str(error).split())


def _remove_drafts() -> None:
    """Removes what writers left that were killed."""
    for path in find_directory().glob(f".*{DRAFT_SUFFIX}"):
        with contextlib.suppress(OSError):
            if abs(time.time() - path.lstat().st_mtime) > _DRAFTS_KEPT_S:
                path.unlink()


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


def find_note(warden: int) -> Path:
    """Where the pid file of the engine under this warden lies."""
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
