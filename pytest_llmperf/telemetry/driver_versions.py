"""The versions of the GPU driver, read by a process of its own: a driver that hangs must not hang pytest."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

from pytest_llmperf.system.child_process import child_environment
from pytest_llmperf.telemetry.sources.drivers import has_driver

_MODULE = "pytest_llmperf.telemetry.sources.nvml.main"
_SECONDS = 10.0
_SECONDS_TO_END = 2.0


def read_driver_versions() -> tuple[str | None, str | None]:
    """The versions of the driver and of the CUDA that it supports, such as 580.95.05 and 13.0; None if unknown."""
    if not has_driver():
        return None, None
    command = [sys.executable, "-P", "-m", _MODULE]
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
            start_new_session=True,
        )
    except OSError:
        return None, None
    try:
        answer = child.communicate(timeout=_SECONDS)[0]
        driver, cuda = json.loads(answer)
    except subprocess.TimeoutExpired:
        child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a call that hangs in the driver cannot be ended
            child.communicate(timeout=_SECONDS_TO_END)
        return None, None
    except ValueError:
        return None, None
    return driver, cuda
