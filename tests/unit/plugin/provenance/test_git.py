"""What is read of the repository that a run is made from."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.plugin.provenance import git
from pytest_llmperf.plugin.provenance.git import parse_status, read_commit

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "1" * 40
HEAD = f"# branch.oid {COMMIT}\n# branch.head main\n"


@pytest.mark.parametrize(
    ("text", "branch", "dirty"),
    [
        (HEAD, "main", False),
        (f"{HEAD}# branch.upstream origin/main\n# branch.ab +1 -0\n", "main", False),
        (f"# branch.oid {COMMIT}\n# branch.head (detached)\n", None, False),
        (f"{HEAD}1 .M N... 100644 100644 100644 {COMMIT} {COMMIT} a.py\n", "main", True),
        (f"{HEAD}u UU N... 100644 100644 100644 100644 {COMMIT} {COMMIT} {COMMIT} a.py\n", "main", True),
    ],
)
def test_a_status_is_read(text: str, branch: str | None, dirty: bool) -> None:
    assert parse_status(text) == {"commit": COMMIT, "branch": branch, "dirty": dirty}


@pytest.mark.parametrize("text", ["# branch.oid (initial)\n# branch.head main\n", ""])
def test_without_a_commit_there_is_nothing_to_state(text: str) -> None:
    assert parse_status(text) is None


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_real_repository_is_read(tmp_path: Path) -> None:
    def run(*words: str) -> None:
        who = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, timeout=60)

    run("init", "--initial-branch=trunk")
    assert read_commit(tmp_path) is None
    file = tmp_path / "a.txt"
    file.write_text("a", encoding="utf-8")
    run("add", "a.txt")
    run("commit", "--message=a")
    clean = read_commit(tmp_path)
    assert clean is not None
    assert (clean["branch"], clean["dirty"], len(clean["commit"])) == ("trunk", False, 40)
    (tmp_path / "report.json").touch()
    assert read_commit(tmp_path) == clean, "what is not tracked is no change"
    file.write_text("b", encoding="utf-8")
    assert read_commit(tmp_path) == {**clean, "dirty": True}


def test_where_git_cannot_be_run_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_commit(tmp_path) is None
    assert read_commit(tmp_path / "gone") is None


def test_a_git_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "_STATUS", ("sleep", "60"))
    monkeypatch.setattr(git, "_TRACKED_ONLY", "0")
    monkeypatch.setattr(git, "_SECONDS", 0.01)
    assert read_commit(tmp_path) is None
