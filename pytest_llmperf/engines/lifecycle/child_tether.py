"""Ends the processes that a library has started when this one ends, even if it is killed.

Run as ``python child_tether.py OWNER PROGRAM ARGUMENTS...``: it asks the kernel to be killed when its parent ends, and
becomes PROGRAM. Standard library only, no package import. Linux only; elsewhere it changes nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PR_SET_PDEATHSIG = 1
# It outlives all others for a moment, to remove the shared memory that they leave behind, and then ends by itself.
_CLEANER = "multiprocessing.resource_tracker"


@contextlib.contextmanager
def tether_children(folder: Path) -> Iterator[None]:
    """Processes that ``multiprocessing`` spawns inside are killed when this process ends, however it ends.

    Their own children are not: they must see for themselves that their parent has gone. ``folder`` takes a script.
    In any thread but the main one it changes nothing.
    """
    import threading
    from multiprocessing import set_executable, spawn

    # The kernel looks at the thread that has started a process: tied to one that ends sooner, it would not live long.
    if not sys.platform.startswith("linux") or threading.current_thread() is not threading.main_thread():
        yield
        return
    script = folder / "python"
    python = spawn.get_executable()
    words = [sys.executable, "-I", "-S", __file__, str(os.getpid()), os.fsdecode(python)]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8", errors="surrogateescape")
    script.chmod(0o700)
    set_executable(str(script))
    try:
        yield
    finally:
        set_executable(python)


def main(owner: int, command: list[str]) -> None:
    if not any(_CLEANER in word for word in command):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != owner:  # it has ended before the kernel was asked
            raise SystemExit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
