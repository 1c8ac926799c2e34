"""Gives the processor the name in ``LLMPERF_TEST_CPU_NAME``: where imported, and in other processes as ``-p``.

PYTEST_DONT_REWRITE: pytest would warn that it was imported before it is a plugin.
"""

from __future__ import annotations

import os
from pathlib import Path

from pytest_llmperf.telemetry import cpu

NAME = os.environ.get("LLMPERF_TEST_CPU_NAME", "")


def _replace() -> None:
    read_model_name = cpu._model_name
    host = Path("/proc/cpuinfo")
    cpu._model_name = lambda cpuinfo: NAME if cpuinfo == host else read_model_name(cpuinfo)


if NAME:
    _replace()
