"""Reads the end of an engine's log."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_LINES = 20
_BYTES = 64 * 1024
_WARNING = re.compile(r"\bWARN(?:ING)?\b|Warning\b|(?i:\blevel=warn)| W ")


def read_tail(log: Path, lines: int = _LINES) -> str:
    """The last lines of a log, of which only the end is read; "" if there is none."""
    with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _BYTES))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    return ""


def quote_last_line(text: str) -> str:
    """The last line of a log in brackets, to be added to a sentence; "" if there is none.

    A warning does not say what a server is doing, so that the line before it is taken.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip() and not _WARNING.search(line)]
    return f" ({lines[-1][:100]})" if lines else ""
