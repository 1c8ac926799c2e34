"""Files that are whole or not there: system/files/whole.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.system.files.whole import write_whole

if TYPE_CHECKING:
    from pathlib import Path


def test_missing_folders_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "out.md"
    write_whole(path, "old\n")
    write_whole(path, "new ✅\n")
    assert [entry.name for entry in path.parent.iterdir()] == ["out.md"]
    assert path.read_text(encoding="utf-8") == "new ✅\n"


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "out.md"
    write_whole(path, "old\n")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half a character: \ud800\n")
    assert path.read_text(encoding="utf-8") == "old\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.md"]


def test_a_path_that_is_a_folder_is_an_error_and_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "out.md").mkdir()
    with pytest.raises(OSError, match=r"out\.md"):
        write_whole(tmp_path / "out.md", "text\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.md"]
