"""Checks the subject of a commit message: ``python scripts/commit_subject.py FILE``, the hook for commit-msg."""

from __future__ import annotations

import sys
from pathlib import Path

_LONGEST = 60
# What git writes itself, of other commits' subjects.
_WRITTEN_BY_GIT = ("Merge ", 'Revert "', "fixup! ", "squash! ", "amend! ")


def why_not(message: str) -> str:
    """Returns why a commit message is not accepted, or "" if it is."""
    lines = [line for line in message.splitlines() if not line.startswith("#")]
    subject, rest = lines[0] if lines else "", lines[1:]
    if subject.startswith(_WRITTEN_BY_GIT):
        return ""
    if not subject.strip():
        return "the subject is empty"
    if len(subject) > _LONGEST:
        return f"the subject has {len(subject)} characters; at most {_LONGEST}, and the rest goes into the body"
    if subject.endswith("."):
        return "the subject ends with a full stop"
    if not subject[0].isupper():
        return "the subject does not begin with a capital letter"
    if rest and rest[0].strip():
        return "the line below the subject is not empty"
    return ""


if __name__ == "__main__":
    reason = why_not(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if reason:
        sys.exit(f"commit message: {reason} (CONTRIBUTING.md, Commits)")
