"""Shared memory that a killed process leaves behind in /dev/shm, where nobody else removes it."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# As multiprocessing, vLLM and NCCL name theirs; what else a process may have mapped is not for us to remove.
_OURS = re.compile(r"(/dev/shm/(?:psm_|sem\.mp-|vllm_|nccl-)[^\s/]+)$", re.MULTILINE)


class SharedMemory:
    """The files in /dev/shm that the processes of an engine have mapped. Nothing where there is no /proc."""

    def __init__(self) -> None:
        self._files: set[Path] = set()

    def note(self, roots: Sequence[int]) -> None:
        """Looks at the processes below ``roots`` while they live."""
        from pytest_llmperf.telemetry.host import process_tree

        for pid in (pid for root in roots for pid in process_tree(root)):
            with contextlib.suppress(OSError):  # it has just ended
                self._files |= {Path(name) for name in _OURS.findall(Path(f"/proc/{pid}/maps").read_text())}

    def remove(self) -> None:
        """Removes what is left of them, once the processes have ended."""
        for path in self._files:
            with contextlib.suppress(OSError):  # as a rule they have removed it themselves
                path.unlink()
        self._files.clear()
