"""Lists the kept engines of this user, and ends them: the command ``pytest-llmperf engines``."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.lifecycle import pid_files
from pytest_llmperf.engines.lifecycle.lease import LEASE, KeptProcess, take_lease

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.api.spec import Progress


@dataclass(frozen=True)
class KeptEngine:
    """A running engine that ``--llmperf-keep-engine`` has kept.

    ``age_seconds`` counts from its start. ``left_seconds`` is how long it stays without a user; None while a run uses
    it.
    """

    engine: str
    model: str
    version: str
    base_url: str
    pid: int
    age_seconds: float
    left_seconds: float | None
    note: Mapping[str, Any]

    @property
    def in_use(self) -> bool:
        return self.left_seconds is None

    def stop(self, force: bool = False) -> str:
        """Ends it, its children and its warden. Returns why it still runs, in a few words; "" if it does not.

        One that a run uses is ended only with ``force``.
        """
        lease = take_lease(self.note)
        if lease is None and not force and pid_files.is_same(self.note["engine"]):
            return "a run is using it"
        KeptProcess(self.note, lease).stop_and_remove()
        return (
            "it could not be ended" if any(pid_files.is_same(self.note[role]) for role in ("engine", "warden")) else ""
        )


def list_kept_engines(progress: Progress) -> list[KeptEngine]:
    """Lists all kept engines, the oldest first; ends engines of killed runs before, reporting each to ``progress``."""
    pid_files.clean_up(progress)
    found = []
    for note in pid_files.list_kept_notes():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            found.append(_look(note))
    return sorted(found, key=lambda engine: -engine.age_seconds)


def _look(note: Mapping[str, Any]) -> KeptEngine:
    import psutil

    kept, pid = note["kept"], note["engine"]["pid"]
    try:
        age = time.time() - psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        raise ProcessLookupError(pid) from None
    return KeptEngine(
        kept.get("engine", note["name"]),
        kept.get("model", "unknown"),
        kept["version"],
        kept["base_url"],
        pid,
        age,
        _find_time_left(note),
        note,
    )


def _find_time_left(note: Mapping[str, Any]) -> float | None:
    lease = take_lease(note)
    if lease is None:
        return None
    os.close(lease)
    seconds: float = note["kept"]["seconds"]
    idle = time.time() - (Path(note["files"]) / LEASE).stat().st_mtime
    return max(0.0, seconds - idle)
