"""Child processes that run a module of this package: how they are started, how they ended, and how they are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PACKAGE_HOME = Path(__file__).resolve().parents[2]
_PARENT = "LLMPERF_PARENT"
_PARENT_THREAD = "LLMPERF_PARENT_THREAD"
_PARENT_CHECK_S = 0.25
_PR_SET_PDEATHSIG = 1
_KILL_TIMEOUT_S = 2.0
_LONGEST_LAST_LINE = 200


class ChildProcess:
    """``python -m MODULE ARGUMENTS``, from here to :meth:`stop`.

    ``fds`` are file descriptors that the process inherits under the same numbers. What it writes to its standard output
    and error is its log, of which :meth:`why_ended` quotes the last line.

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(self, module: str, arguments: Sequence[str] = (), fds: Sequence[int] = ()) -> None:
        # The log has no name in the file system: nothing is left behind, however this process ends.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._end = ""
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=child_environment(),
                pass_fds=fds,
                # Ctrl-C reaches pytest alone, which decides what becomes of the child. And a scheduler that divides the
                # cores among sessions gives the child its turn, however many processes the tests run.
                start_new_session=True,
            )
        except BaseException:
            self._log.close()
            raise

    @property
    def pid(self) -> int:
        """The process id; it stays the same after the end."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    @property
    def stopped(self) -> bool:
        """Whether the process stands still, as after SIGSTOP; False where the system does not tell."""
        return not self.ended and is_stopped(self.pid)

    def why_ended(self) -> str:
        """``exit status 1: the last line of the log`` or ``killed by SIGKILL``; "" while the process runs."""
        if not self._end and self.ended:
            self._log.seek(0)
            self._end = describe_end(self._process.returncode, self._log.read())
        return self._end

    def wait(self, timeout_s: float) -> bool:
        """Waits until the process has ended, at most ``timeout_s`` seconds; returns whether it has."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def interrupt(self) -> None:
        """Sends SIGINT, unless the process has ended."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Sends SIGKILL, unless the process has ended. It does not wait for the end."""
        self._process.kill()

    def stop(self, grace_s: float = 0.0) -> None:
        """Waits ``grace_s`` seconds for the process to end by itself, kills it if it does not, and closes its log.

        May be called twice. One that was stopped is woken to end. A process that the kernel cannot end within 2 s,
        because it is inside a driver call, is left behind.
        """
        if self._log.closed:
            return
        if grace_s:
            self._process.send_signal(signal.SIGCONT)
        if not self.wait(grace_s):
            self.kill()
            if not self.wait(_KILL_TIMEOUT_S):
                self._process.returncode = -signal.SIGKILL  # or Popen would warn of it at exit
        self.why_ended()
        self._log.close()


def child_environment() -> dict[str, str]:
    """The environment for a child process: this one's, who its parent is, and the package's folder in ``PYTHONPATH``.

    The folder is left out where the package is installed in ``site-packages``. To be called in the thread that starts
    the child.
    """
    environment = dict(os.environ) | {_PARENT: str(os.getpid()), _PARENT_THREAD: str(threading.get_native_id())}
    if _PACKAGE_HOME.name not in ("site-packages", "dist-packages"):
        paths = [environment.get("PYTHONPATH", ""), str(_PACKAGE_HOME)]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def parent_pid() -> int:
    """In a child process: the pid of the process that started it, even if that has ended.

    Raises:
        KeyError: this process was not started by :class:`ChildProcess`.
    """
    # os.getppid() gives another pid once the parent has ended.
    return int(os.environ[_PARENT])


def is_orphan() -> bool:
    """In a child process: whether the process that started it has ended."""
    return os.getppid() != parent_pid()


def end_with_parent() -> None:
    """In a child process: has it killed when the process that started it ends, even if it is stopped or hangs.

    Linux sees to it at the end of the *thread* that has started the child. Where that is not the parent's main one,
    and on other systems, a thread of the child looks; on Linux the signal wakes it if it was stopped.
    """
    import ctypes

    by_main_thread = os.environ.get(_PARENT_THREAD) == str(parent_pid())
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL if by_main_thread else signal.SIGCONT)
    if is_orphan():  # it has ended before the kernel was asked
        os._exit(1)
    if not (sys.platform.startswith("linux") and by_main_thread):
        threading.Thread(target=_watch_parent, name="llmperf-parent", daemon=True).start()


def _watch_parent() -> None:
    while True:
        time.sleep(_PARENT_CHECK_S)
        if is_orphan():
            os._exit(1)


def is_stopped(pid: int) -> bool:
    """Whether a process stands still, as after SIGSTOP; False where the system does not tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[:1] in ([b"T"], [b"t"])


def describe_end(status: int, log: bytes) -> str:
    """``exit status 1: the last line of the log`` or ``killed by SIGKILL``, from a status as Popen gives it."""
    how = f"killed by {_signal_name(-status)}" if status < 0 else f"exit status {status}"
    lines = log.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"{how}{': ' + last[:_LONGEST_LAST_LINE] if last else ''}"


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
