"""Writes the versions of the driver and of CUDA as JSON, a pair in which null is unknown.

Started by ``python -m pytest_llmperf.telemetry.sources.nvml.main``.
"""

from __future__ import annotations

import json
from contextlib import closing

from pytest_llmperf.system.child_process import end_with_parent
from pytest_llmperf.telemetry.records.source import SourceError
from pytest_llmperf.telemetry.sources.nvml.backend import NvmlBackend


def read_versions() -> tuple[str | None, str | None]:
    """The versions of the driver and of the CUDA that it supports; None for one that the driver does not state."""
    found: list[str | None] = []
    with closing(NvmlBackend()) as backend:
        for read in (backend.driver_version, backend.cuda_version):
            try:
                found.append(read())
            except SourceError:
                found.append(None)
    return found[0], found[1]


if __name__ == "__main__":
    end_with_parent()
    print(json.dumps(read_versions()))
