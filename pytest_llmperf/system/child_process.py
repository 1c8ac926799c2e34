"""Processes of our own beside pytest: what they are started with, and how they ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import IO

_PACKAGE_HOME = Path(__file__).resolve().parents[2]


_PARENT = "LLMPERF_PARENT"


def environment_of_ours() -> dict[str, str]:
    """This process's, with its pid, and with the package on the path where it is not installed."""
    environment = dict(os.environ) | {_PARENT: str(os.getpid())}
    if _PACKAGE_HOME.name not in ("site-packages", "dist-packages"):
        paths = [environment.get("PYTHONPATH", ""), str(_PACKAGE_HOME)]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def started_by() -> int:
    """In a process of ours, the pid of the one that has started it. Asking the system may already be too late."""
    return int(os.environ[_PARENT])


def is_orphan() -> bool:
    """In a process of ours, whether the one that has started it has ended."""
    return os.getppid() != started_by()


def how_it_ended(status: int, log: IO[bytes]) -> str:
    """``exit status 1: the last line of its log``, ``killed by SIGKILL``."""
    how = f"killed by {_signal_name(-status)}" if status < 0 else f"exit status {status}"
    log.seek(0)
    lines = log.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"{how}{': ' + last[:200] if last else ''}"


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
