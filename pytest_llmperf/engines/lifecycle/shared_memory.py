"""Removes the shared memory that a killed process has left in /dev/shm."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_FOLDER = Path("/dev/shm")
# As multiprocessing, vLLM and NCCL name theirs; what else a process may have mapped is not for us to remove.
_NAMES = re.compile(r"psm_|sem\.mp-|vllm_|nccl-")
# A semaphore is mapped under a name that is gone at once: only the inode tells it.
_MAPPED = re.compile(r"^\S+ \S+ \S+ \S+ (\d+) +/dev/shm/", re.MULTILINE)


class SharedMemory:
    """The files in /dev/shm that the processes of an engine have mapped; none on a system without /proc."""

    def __init__(self) -> None:
        self._inodes: set[int] = set()

    def note(self, roots: Sequence[int]) -> None:
        """Notes the files of the processes below ``roots``, while they live."""
        from pytest_llmperf.telemetry.sources.host import process_tree

        for pid in (pid for root in roots for pid in process_tree(root)):
            with contextlib.suppress(OSError):  # it has just ended
                maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="surrogateescape")
                self._inodes |= {int(inode) for inode in _MAPPED.findall(maps)}

    def remove(self) -> None:
        """Removes what is left of them, once the processes have ended."""
        for path in _FOLDER.iterdir() if self._inodes else ():
            with contextlib.suppress(OSError):  # as a rule they remove it themselves
                if _NAMES.match(path.name) and path.stat().st_ino in self._inodes:
                    path.unlink()
        self._inodes.clear()
