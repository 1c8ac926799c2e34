"""Reads the commit that a run is made from."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_SECONDS = 5.0
# One process for all of it. It takes no lock that a git of the user may want, and starts no monitor.
_STATUS = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false", "status", "--porcelain=v2", "--branch")
_TRACKED_ONLY = "--untracked-files=no"


def read_commit(folder: Path) -> dict[str, Any] | None:
    """``commit`` (hexadecimal), ``branch`` (None if none is checked out) and ``dirty`` of the repository of a folder.

    It is dirty if a file that is tracked has been changed. None if there is no repository with a commit, or no git, or
    if git does not answer within 5 s.
    """
    try:
        done = subprocess.run(
            [*_STATUS, _TRACKED_ONLY],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_status(done.stdout.decode(errors="replace"))


def parse_status(text: str) -> dict[str, Any] | None:
    """Reads what ``git status --porcelain=v2 --branch`` has written."""
    lines = text.splitlines()
    headers = dict(line.removeprefix("# ").split(" ", 1) for line in lines if line.startswith("# branch."))
    commit, branch = headers.get("branch.oid", "(initial)"), headers.get("branch.head")
    if commit == "(initial)":
        return None
    return {
        "commit": commit,
        "branch": None if branch == "(detached)" else branch,
        "dirty": any(not line.startswith("#") for line in lines),
    }
