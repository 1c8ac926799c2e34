"""What is recorded of a run beside its numbers. It takes processes of its own, so it is read for reports only."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_llmperf.plugin.provenance.git import read_commit
from pytest_llmperf.system.masking import mask_words
from pytest_llmperf.telemetry.driver_versions import read_driver_versions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def describe_provenance(started: float, arguments: Iterable[str], folder: Path) -> dict[str, Any]:
    """The facts as plain data: ``started``, ``command_line``, ``host``, ``kernel``, ``driver``, ``cuda``, ``git``.

    ``started`` is in seconds since the epoch, ``arguments`` are those of pytest, without its name, and are masked;
    ``folder`` is the project's. What is unknown is None.
    """
    driver, cuda = read_driver_versions()
    return {
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "command_line": ["pytest", *mask_words(arguments)],
        "host": platform.node(),
        "kernel": platform.release(),
        "driver": driver,
        "cuda": cuda,
        "git": read_commit(folder),
    }
