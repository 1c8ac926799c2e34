"""The pid files of running engines, and the ending of those whose pytest is gone.

A warden ends its engine when pytest dies. These files are for what no process can catch: both killed at once, or a
kernel without parent-death signals. A process is known by its pid and its start time, so a reused pid is never killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

from pytest_llmperf.engines.base import Progress


def directory() -> Path:
    """Where the pid files lie: one folder per user, which nobody else may write to."""
    path = Path(tempfile.gettempdir()) / f"pytest-llmperf-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user")
    return path


def note(name: str, warden: int, engine: int | None) -> Path:
    """Writes the pid file of an engine that was just started."""
    path = directory() / f"{warden}.json"
    processes = {"owner": os.getpid(), "warden": warden, "engine": engine}
    text = json.dumps({"name": name} | {role: _identify(pid) for role, pid in processes.items() if pid is not None})
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)
    return path


def sweep(progress: Progress) -> None:
    """Ends the engines whose pytest is gone and says so; removes the files of those that have ended."""
    for path in sorted(directory().glob("*.json")):
        try:
            found = json.loads(path.read_text())
        except FileNotFoundError:
            continue  # its pytest has just ended it
        except ValueError:
            found = {}
        if _alive(found.get("owner")):
            continue
        engine, warden = found.get("engine"), found.get("warden")
        if _alive(engine):
            progress(f"{found['name']}: ending pid {engine['pid']}, left over from a run that was killed")
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(engine["pid"], signal.SIGKILL)
        if _alive(warden):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(warden["pid"], signal.SIGKILL)
        path.unlink(missing_ok=True)


def _identify(pid: int) -> dict[str, Any]:
    import psutil

    with contextlib.suppress(psutil.Error):
        return {"pid": pid, "started": psutil.Process(pid).create_time()}
    return {"pid": pid, "started": None}


def _alive(process: dict[str, Any] | None) -> bool:
    import psutil

    if not process or process.get("started") is None:
        return False
    try:
        found = psutil.Process(process["pid"])
        return bool(found.create_time() == process["started"] and found.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
