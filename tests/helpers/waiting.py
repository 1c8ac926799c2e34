"""How tests wait: for a condition, or for a line of a process, and never longer than ``PATIENCE_S``."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 60


def until(condition: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Returns once ``condition()`` is true; fails after ``patience_s`` seconds."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true within {patience_s:g} s"
        time.sleep(0.01)


def read_line(pipe: IO[Any] | None) -> str:
    """The next line that a process writes to a pipe, "" at its end; fails after ``PATIENCE_S`` seconds.

    Nothing may have been read from the pipe in another way, which might hold lines back in its buffer.
    """
    assert pipe is not None
    deadline = time.monotonic() + PATIENCE_S
    line = bytearray()
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"no line came within {PATIENCE_S} s"
        byte = os.read(pipe.fileno(), 1)
        if not byte:
            break
        line += byte
    return line.decode()


def halt(pid: int) -> None:
    """Stops a process as SIGSTOP does, and returns once it stands still: the signal arrives some time later."""
    import psutil  # the double of Ollama waits as well, and runs without other packages

    os.kill(pid, signal.SIGSTOP)
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
