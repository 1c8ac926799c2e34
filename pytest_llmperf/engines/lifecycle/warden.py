"""The process between pytest and an engine: it outlives pytest by the moment it takes to end the engine.

Run as ``python warden.py GRACE FOLDER NOTES COMMAND...`` in a session of its own, so that Ctrl-C at the terminal
reaches neither of them. Standard input is its lifeline: end of file there, whatever ended pytest, ends the engine. So
do SIGTERM and the end of its parent: a process that a test has forked may hold the lifeline as well. It prints the
engine's pid, and exits with the engine's status (128 + signal for a signal). Standard library only, no package import:
it must start fast and stay small. If pytest has ended by then, it also removes FOLDER, where the engine has its files,
and the pid file of the engine in NOTES; while pytest lives, that reads the log and removes them itself.

A line of JSON on standard input, ``{"seconds": S, "lease": PATH, "folder": PATH, "note": PATH}``, asks it to outlive
pytest: it then ends the engine, and removes folder and note, once no process has held a lock on the lease, or on the
file that the lease names, for S seconds. The lease's modification time is when a holder was last seen.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.5
_LINGER_SECONDS = 1.0
_KILL_SECONDS = 3.0
_STATUS = "status"
_SHARED_MEMORY = "/dev/shm"
# As multiprocessing, vLLM and NCCL name theirs.
_SHARED_NAMES = ("psm_", "sem.mp-", "vllm_", "nccl-")


def _die_with_warden() -> Callable[[], None] | None:
    """The kernel's own parent-death signal, for the case that the warden itself is killed. Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, warden = ctypes.CDLL(None).prctl, os.getpid()

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != warden:
            os._exit(1)

    return before_exec


def _wake_with_parent() -> None:
    """Has the kernel continue this process at the end of its parent, should it have been stopped. Linux only."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)


def main(grace: float, folder: str, notes: str, command: list[str]) -> int:
    wake_read, wake_write = os.pipe()
    for end in (wake_read, wake_write):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    ended: list[int] = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: ended.append(received))
    parent = os.getppid()
    _wake_with_parent()
    # Its own process group, so that the warden can kill all of the engine without killing itself.
    try:
        engine = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sys.stderr, process_group=0, preexec_fn=_die_with_warden()
        )
    except OSError as error:
        print(f"cannot run {command[0]} ({error.strerror})", file=sys.stderr, flush=True)
        return 127
    # If there is no reader left, standard input has ended as well, and the loop ends at once.
    with contextlib.suppress(BrokenPipeError):
        print(engine.pid, flush=True)
    order = b""
    while engine.poll() is None and not ended and os.getppid() == parent:
        ready, _, _ = select.select([0, wake_read], [], [], _POLL_SECONDS)
        if wake_read in ready:
            os.read(wake_read, 512)
        if 0 in ready:
            order = os.read(0, select.PIPE_BUF)
            break
    if not order:
        status = _end(engine, grace)
        if os.getppid() != parent:
            _remove(folder, os.path.join(notes, f"{os.getpid()}.json"))
        return status
    kept = json.loads(order)
    idle_since, leased, told = time.monotonic(), True, False
    # One that ends by itself leaves its log and its status to those who use it.
    while not ended and (leased or (engine.poll() is None and time.monotonic() - idle_since < kept["seconds"])):
        ready, _, _ = select.select([wake_read], [], [], _POLL_SECONDS)
        if wake_read in ready:
            os.read(wake_read, 512)
        if engine.poll() is not None and not told:
            told = True
            _tell(os.path.join(kept["folder"], _STATUS), engine.returncode)
        leased = _is_leased(kept["lease"])
        if leased:
            idle_since = time.monotonic()
    status = _end(engine, grace)
    _remove_run(kept["lease"])
    _remove(kept["folder"], kept["note"])
    return status


def _remove(folder: str, note: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.unlink(note)


def _remove_run(lease: str) -> None:
    """Removes the folder of the run that shared the engine, if the owner of that run was killed."""
    with contextlib.suppress(OSError):
        with open(lease, encoding="utf-8") as file:
            lock = file.read()
        folder = os.path.dirname(lock)
        if os.path.basename(folder).startswith("run-") and not _is_locked(lock):
            shutil.rmtree(folder, ignore_errors=True)


def _tell(path: str, status: int) -> None:
    with contextlib.suppress(OSError):  # there is no room, or the folder was cleared away: the status stays unknown
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(str(128 - status if status < 0 else status))
        os.replace(file.name, path)


def _is_leased(lease: str) -> bool:
    """Whether a pytest that uses the engine holds the lock on the lease, or the one that the lease names instead.

    The kernel takes a lock back however that pytest ends.
    """
    if _is_locked(lease):
        with contextlib.suppress(FileNotFoundError):  # the folder was cleared away meanwhile
            os.utime(lease)
        return True
    with contextlib.suppress(FileNotFoundError), open(lease, encoding="utf-8") as file:
        other = file.read()
        if other and _is_locked(other):
            os.utime(lease)
            return True
    return False


def _is_locked(path: str) -> bool:
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:  # not there: the folder was cleared away
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _end(engine: subprocess.Popen[bytes], grace: float) -> int:
    """Terminates the engine, waits, and kills what is left in its process group."""
    _signal_group(engine.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while engine.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    if engine.poll() is not None:
        # What it has started may have to tidy up after it, as Python's tracker of shared memory does.
        deadline = time.monotonic() + min(grace, _LINGER_SECONDS)
        while _signal_group(engine.pid, 0) and time.monotonic() < deadline:
            time.sleep(0.01)
    left = _find_shared_memory(engine.pid)
    _signal_group(engine.pid, signal.SIGKILL)
    try:
        status = engine.wait(_KILL_SECONDS)
    except subprocess.TimeoutExpired:  # it is inside a driver call, and ends with that
        status = -signal.SIGKILL
    _remove_shared_memory(left)
    return 128 - status if status < 0 else status


def _find_shared_memory(group: int) -> set[int]:
    """The inodes of what is mapped by the processes of the group in /dev/shm, where killed ones leave it."""
    found: set[int] = set()
    with contextlib.suppress(OSError):  # there is no /proc
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            with contextlib.suppress(OSError):  # it has just ended
                if os.getpgid(int(pid)) == group:
                    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:
                        found |= {int(line.split()[4]) for line in maps if f" {_SHARED_MEMORY}/" in line}
    return found


def _remove_shared_memory(inodes: set[int]) -> None:
    for entry in os.scandir(_SHARED_MEMORY) if inodes else ():
        with contextlib.suppress(OSError):
            if entry.name.startswith(_SHARED_NAMES) and entry.inode() in inodes:
                os.unlink(entry.path)


def _signal_group(group: int, number: int) -> bool:
    """Sends a signal to the group. Returns whether a process of it was left."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main(float(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]))
