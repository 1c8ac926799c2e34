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
- ``{"restore": MODEL, "context": N, "options": {...}, "seconds": S, "until": TIME, "pid": PID, "evicted": BOOL}``: a
  model that somebody else had loaded, with N tokens of context, in the process PID if that is known, to stay S seconds
  after a request, and until TIME without one. It is loaded again unless it is loaded as it was, or would be gone by
  now. With ``evicted`` it may have been put out for the tests: it is loaded again only if it is not loaded at all. Of
  several for one model the first counts.
- ``{"stayed": MODEL}``: a model with ``evicted`` was not put out.

It prints a line for each model that it has loaded again.
"""

from __future__ import annotations

import ctypes
import fcntl
import http.client
import json
import os
import select
import signal
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.5
_REQUEST_SECONDS = 10.0
_UNLOAD_SECONDS = 10.0
# By so much the clock of the server may be ahead of this one.
_CLOCK = timedelta(seconds=60)
# Between two statements of one time.
_ROUNDING = timedelta(seconds=2)
RESTORE_SECONDS = 300.0
"""For how long a model may take to be loaded again."""


def main(root: str, path: Path, lock: int) -> None:
    _wait_for_the_end(os.getppid())
    if not _is_last(lock):
        return
    failures = []
    tasks = [json.loads(line) for line in os.pread(lock, os.fstat(lock).st_size, 0).splitlines()]
    # A model is unloaded by its name, so it must still have one; those of others get the room that this makes.
    unloads, deletes = ([task for task in tasks if verb in task] for verb in ("unload", "delete"))
    for task in (*unloads, *_list_restores(tasks), *deletes):
        try:
            if "unload" in task:
                _unload(root, task["unload"], task["seconds"])
            elif "restore" in task:
                _restore(root, task)
            else:
                _delete(root, task["delete"], task["manifest"])
        except urllib.error.HTTPError as error:
            failures.append(f"HTTP {error.code} for {_name(task)}: {error.read().decode(errors='replace')}")
        except OSError as error:
            failures.append(f"{error} for {_name(task)}")
    path.unlink(missing_ok=True)
    if failures:
        raise SystemExit("; ".join(failures))


def _name(task: dict[str, Any]) -> str:
    if "restore" in task:
        return f"loading {task['restore']} again with a context of {task['context']} tokens, as it was found"
    return str(task)


def _list_restores(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for task in tasks:
        if "restore" in task:
            found.setdefault(task["restore"], task)
        elif "stayed" in task and found.get(task["stayed"], {}).get("evicted"):
            del found[task["stayed"]]
    return list(found.values())


def _wait_for_the_end(parent: int) -> None:
    if sys.platform.startswith("linux"):
        # Should this process have been stopped, the kernel continues it at the end of its parent.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
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


def _restore(root: str, task: dict[str, Any]) -> None:
    if not _is_up(root):
        return
    model, loaded = task["restore"], _find(root, task["restore"])
    if loaded is None and datetime.fromisoformat(task["until"]) < datetime.now(UTC):
        return
    if loaded is not None and (task["evicted"] or _is_as_found(loaded, task)):
        return
    options = {**task["options"], "num_ctx": task["context"]}
    _load(root, {"model": model, "options": options, "keep_alive": task["seconds"], "stream": False})
    print(f"{model} is loaded at {root} again as it was found, with a context of {task['context']} tokens", flush=True)


def _load(root: str, body: dict[str, Any]) -> None:
    try:
        _ask(root, "POST", "/api/generate", body, RESTORE_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != 400:
            raise
        # A model for embeddings refuses to generate, and is loaded by a request to embed nothing.
        try:
            _ask(root, "POST", "/api/embed", {**body, "input": ""}, RESTORE_SECONDS)
        except urllib.error.HTTPError:
            raise error from None


def _is_as_found(loaded: dict[str, Any], task: dict[str, Any]) -> bool:
    """Whether it is the same load, and stays at least as long as it would have without any request."""
    stays = datetime.fromisoformat(str(loaded["expires_at"])) >= datetime.fromisoformat(task["until"]) - _ROUNDING
    return stays and loaded.get("context_length") == task["context"] and _is_alive(task["pid"])


def _is_alive(pid: int | None) -> bool:
    try:
        if pid is not None:
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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


def _ask(root: str, method: str, path: str, body: object = None, seconds: float = _REQUEST_SECONDS) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(root + path, data, {"Content-Type": "application/json"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=seconds) as answer:
            content: bytes = answer.read()
            return content
    except http.client.HTTPException as error:  # the other tasks go on
        raise OSError(f"the answer is not HTTP ({' '.join(str(error).split()) or type(error).__name__})") from error


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
