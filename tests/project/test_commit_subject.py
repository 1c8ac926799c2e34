from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from scripts import commit_subject
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "message",
    [
        "Read the lock once\n",
        "Read the lock once\n\nIt was read for each pin.\n# a comment of git's\n",
        "# a comment of git's\nRead the lock once",
        'Revert "Read the lock once for every pin of every group and of each environment"',
        "x".upper() * 60,
    ],
)
def test_accepts(message: str) -> None:
    assert commit_subject.why_not(message) == ""


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("", "is empty"),
        ("# a comment of git's\n", "is empty"),
        ("X" * 61, "has 61 characters"),
        ("Read the lock once.", "full stop"),
        ("read the lock once", "capital letter"),
        ("Read the lock once\nIt was read for each pin.", "not empty"),
    ],
)
def test_refuses(message: str, reason: str) -> None:
    assert reason in commit_subject.why_not(message)


def test_ends_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "message").write_text("wip", encoding="utf-8")
    command = [sys.executable, commit_subject.__file__, str(tmp_path / "message")]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr.strip()) == (
        1,
        "commit message: the subject does not begin with a capital letter (CONTRIBUTING.md, Commits)",
    )
