"""Reads the end of an engine's log, and keeps the logs of engines that failed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from typing import TYPE_CHECKING

from pytest_llmperf.engines.lifecycle import pid_files

if TYPE_CHECKING:
    from pathlib import Path

_LINES = 20
_LINES_BEFORE_CAUSE = 10
_LONGEST_LINE = 1000
_MOST_KEPT = 20
_BYTES = 64 * 1024
_WARNING = re.compile(r"\bWARN(?:ING)?\b|Warning\b|(?i:\blevel=warn)| W ")


def read_tail(log: Path, lines: int = _LINES) -> str:
    """The last lines of a log, of which only the end is read; "" if there is none."""
    with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _BYTES))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    return ""


def read_tail_with_cause(log: Path, cause: str) -> str:
    """The last lines of a log, and before them, if it is not among them, the last line that holds ``cause``."""
    tail = read_tail(log)
    if not cause or cause in tail:
        return tail
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    place = max((place for place, line in enumerate(lines) if cause in line), default=None)
    if place is None:
        return tail
    before = [line[:_LONGEST_LINE] for line in lines[max(0, place + 1 - _LINES_BEFORE_CAUSE) : place + 1]]
    return "\n".join([*before, "…", tail])


def keep_log(log: Path, name: str, pid: int) -> str:
    """Copies the log of an engine to where it stays, and returns the path; "" if it has none or there is no room.

    The newest logs are kept, the others removed. The log of one process goes to the same path again.
    """
    with contextlib.suppress(OSError):
        path = _make_room(name, pid)
        shutil.copyfile(log, path)
        return str(path)
    return ""


def write_log(text: str, name: str, pid: int) -> str:
    """The same for what an engine inside this process has logged."""
    if not text:
        return ""
    with contextlib.suppress(OSError):
        path = _make_room(name, pid)
        path.write_text(f"{text}\n", encoding="utf-8")
        return str(path)
    return ""


def _make_room(name: str, pid: int) -> Path:
    folder = pid_files.find_directory() / "logs"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{name}-{pid}.log"
    others = sorted(set(folder.glob("*.log")) - {path}, key=lambda file: file.stat().st_mtime)
    for old in others[: 1 - _MOST_KEPT]:
        old.unlink(missing_ok=True)
    return path


def quote_last_line(text: str) -> str:
    """The last line of a log in brackets, to be added to a sentence; "" if there is none.

    A warning does not say what a server is doing, so that the line before it is taken.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip() and not _WARNING.search(line)]
    return f" ({lines[-1][:100]})" if lines else ""
