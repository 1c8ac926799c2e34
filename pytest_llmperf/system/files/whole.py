"""Files that are whole or not there."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

DRAFT_SUFFIX = ".tmp"


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Writes ``text`` as UTF-8 so that a reader finds the old file or the new one, never half of it.

    That holds after a loss of power as well, and for several writers at once. Missing folders are made.

    Raises:
        OSError: the folder or the file cannot be written; nothing is left behind.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}{DRAFT_SUFFIX}")
    try:
        with draft.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a loss of power, where its file system can."""
    with suppress(OSError):  # some network file systems cannot, and the file is there already
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
