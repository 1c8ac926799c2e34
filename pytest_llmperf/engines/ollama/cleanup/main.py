"""The process that cleans up a server after pytest: it waits for pytest to end, and outlives it by that moment.

Run as ``python main.py ROOT LIST LOCK`` in a session of its own, so that Ctrl-C at the terminal does not reach it.
Standard input is its lifeline: a line there, or its end, whatever ended pytest, starts the work. Standard library
only, no package import: it must start fast and stay small.

ROOT is the URL of the server, LIST the path of a file with one JSON object a line, and LOCK the number of that file,
open and with a lock of this process on it. The list is worked on only if no other process holds a lock on it: the last
user cleans up, and removes the list. Its lines are

- ``{"unload": MODEL, "seconds": S}``: a model to unload. One that is to stay longer than S seconds from now has another
  user, who asked for that, and is left alone; with null none is.
- ``{"delete": MODEL, "manifest": PATH}``: a model to delete, and its file, for a server that has ended by then; "" if
  the file is not on this host.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_POLL_SECONDS = 0.5
_REQUEST_SECONDS = 10.0
_UNLOAD_SECONDS = 10.0
# By so much the clock of the server may be ahead of this one.
_CLOCK = timedelta(seconds=60)


def main(root: str, path: Path, lock: int) -> None:
    _wait_for_the_end(os.getppid())
    if not _is_last(lock):
        return
    failures = []
    tasks = [json.loads(line) for line in os.pread(lock, os.fstat(lock).st_size, 0).splitlines()]
    # A model is unloaded by its name, so it must still have one.
    for task in sorted(tasks, key=lambda task: "unload" not in task):
        try:
            if "unload" in task:
                _unload(root, task["unload"], task["seconds"])
            else:
                _delete(root, task["delete"], task["manifest"])
        except urllib.error.HTTPError as error:
            failures.append(f"HTTP {error.code} for {task}: {error.read().decode(errors='replace')}")
        except OSError as error:
            failures.append(f"{error} for {task}")
    path.unlink(missing_ok=True)
    if failures:
        raise SystemExit("; ".join(failures))


def _wait_for_the_end(parent: int) -> None:
    while os.getppid() == parent:
        ready, _, _ = select.select([0], [], [], _POLL_SECONDS)
        if ready:
            return


def _is_last(lock: int) -> bool:
    """Whether no other process holds a lock on the list; none can get one from then on, until this process ends."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unload(root: str, model: str, seconds: float | None) -> None:
    if not _is_up(root):
        return  # the model has ended with its server
    loaded = _find(root, model)
    if loaded is None or (seconds is not None and _stays_longer(loaded, seconds)):
        return
    _ask(root, "POST", "/api/generate", {"model": model, "keep_alive": 0, "stream": False})
    deadline = time.monotonic() + _UNLOAD_SECONDS
    while _find(root, model) is not None and time.monotonic() < deadline:
        time.sleep(0.02)


def _delete(root: str, model: str, manifest: str) -> None:
    if _is_up(root):
        try:
            _ask(root, "DELETE", "/api/delete", {"model": model})
        except urllib.error.HTTPError as error:
            if error.code != 404:  # it has not been made yet, or is deleted already
                raise
        except OSError:
            if not manifest:  # the server is ending
                raise
    if manifest:
        # What no manifest names is removed when a server starts.
        Path(manifest).unlink(missing_ok=True)


def _is_up(root: str) -> bool:
    try:
        _ask(root, "GET", "/api/version")
    except OSError:
        return False
    return True


def _find(root: str, model: str) -> dict[str, Any] | None:
    entries = json.loads(_ask(root, "GET", "/api/ps")).get("models") or ()
    return next((entry for entry in entries if entry.get("name") == model), None)


def _stays_longer(loaded: dict[str, Any], seconds: float) -> bool:
    until = datetime.fromisoformat(str(loaded["expires_at"]))
    return until > datetime.now(UTC) + timedelta(seconds=seconds) + _CLOCK


def _ask(root: str, method: str, path: str, body: object = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(root + path, data, {"Content-Type": "application/json"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=_REQUEST_SECONDS) as answer:
        content: bytes = answer.read()
        return content


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
