"""One of several runs of the same suite, each a pytest process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.engines.lifecycle import child_tether
from pytest_llmperf.reports.text import to_one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

_COUNTED = re.compile(r" in [0-9.]+s( \([0-9:]+\))?$")
_GRACE_S = 60.0
_KILL_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class SuiteRun:
    """How a run ended.

    Attributes:
        status: pytest's exit status; negative for the number of the signal that ended it.
        output: what it wrote, standard output and error together.
        seconds: how long it took.
    """

    status: int
    output: str
    seconds: float

    @property
    def summary(self) -> str:
        """``4 passed in 12.31s``: what pytest says last of all, without what surrounds it; empty without a terminal.

        Of a run in which no test could run, whatever it wrote last.
        """
        lines = [line for text in reversed(self.output.splitlines()) if (line := to_one_line(text).strip("= "))]
        counted = next((line for line in lines if _COUNTED.search(line)), "")
        return counted or ("" if self.status in (0, 1) or not lines else lines[0])


def run_suite(arguments: Sequence[str], folder: Path) -> SuiteRun:
    """Runs pytest in a folder and waits for its end.

    If this process is interrupted meanwhile, so is the run, and both have ended when KeyboardInterrupt is raised. If
    this process is killed, the run is killed too (Linux).
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            _make_command(arguments),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches this process alone, which passes it on: pytest takes a second one as an order to hurry.
            start_new_session=True,
        )
        try:
            process.wait()  # a suite takes as long as it takes; Ctrl-C ends it
        finally:
            _end(process)
        log.seek(0)
        output = log.read().decode(errors="replace")
    return SuiteRun(process.returncode, output, time.monotonic() - started)


def _make_command(arguments: Sequence[str]) -> list[str]:
    # ``python -m pytest`` puts the folder that it is called in on the path, and ``pytest`` does not.
    plain = [] if Path(sys.argv[0]).name == "__main__.py" else ["-P"]
    command = [sys.executable, *plain, "-m", "pytest", *arguments]
    if not sys.platform.startswith("linux"):
        return command
    return [sys.executable, "-I", "-S", child_tether.__file__, str(os.getpid()), *command]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupts a process that still runs, so that it stops its engines, and kills it if it does not end."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_GRACE_S)
    except BaseException:
        process.kill()
        process.wait(_KILL_TIMEOUT_S)
        raise
