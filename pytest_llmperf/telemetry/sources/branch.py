"""A part of a process tree: all of it, its root alone, or what holds one file."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from pytest_llmperf.telemetry.sources.host import HAS_PROC, process_tree

_PROC = Path("/proc")


@dataclass(frozen=True)
class Branch:
    """Processes of one tree whose memory is sampled together.

    ``root`` is the pid of the tree's root. ``file`` is None for the whole tree, "" for the root alone, else the name of
    a file: then it is the processes below the root that have the file on their command lines, with all below them.
    """

    root: int
    file: str | None = None

    @property
    def has_root(self) -> bool:
        """Whether the root is one of its processes."""
        return not self.file

    def list_pids(self) -> tuple[int, ...]:
        """Lists its processes now, a parent before its children. An ended root is still listed."""
        if self.file is None:
            return process_tree(self.root)
        if not self.file:
            return (self.root,)
        holders = (pid for pid in process_tree(self.root)[1:] if _has_argument(pid, self.file))
        return tuple(dict.fromkeys(pid for holder in holders for pid in process_tree(holder)))


def _has_argument(pid: int, file: str) -> bool:
    """Whether a file of this name is on the command line of a process; False if that cannot be read."""
    return any(PurePath(word).name == file for word in read_command_line(pid))


def read_command_line(pid: int) -> tuple[str, ...]:
    """The command line of a process; () if it has ended, or may not be read."""
    if HAS_PROC:
        with suppress(OSError):
            return tuple(
                (_PROC / str(pid) / "cmdline").read_text(errors="surrogateescape", encoding="utf-8").split("\0")[:-1]
            )
        return ()
    import psutil

    with suppress(psutil.Error):
        return tuple(psutil.Process(pid).cmdline())
    return ()
