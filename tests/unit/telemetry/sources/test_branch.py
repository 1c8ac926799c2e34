from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.sources.branch import Branch, read_command_line
from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLEEPS = "import time; time.sleep(600)"
SERVER = f"""
import subprocess, sys
models = [subprocess.Popen([sys.executable, "-c", {SLEEPS!r}, *words]) for words in (
    ("--model", "/models/blobs/sha256-aa", "--port", "1"),
    ("--model=/models/blobs/sha256-bb",),
    ("--list-devices",),
)]
models[0].wait()
"""


@pytest.fixture
def server() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", SERVER], start_new_session=True)
    until(lambda: {len(Branch(process.pid, f"sha256-{name}").list_pids()) for name in ("aa", "bb")} == {1})
    yield process.pid
    for pid in reversed(Branch(process.pid).list_pids()):
        subprocess.run(["kill", "-9", str(pid)], check=True, timeout=PATIENCE_S)
    process.wait(PATIENCE_S)


def test_a_branch_is_all_of_a_tree_its_root_or_what_has_a_file_on_its_command_line(server: int) -> None:
    whole, alone = Branch(server), Branch(server, "")
    until(lambda: len(whole.list_pids()) == 4)
    assert alone.list_pids() == (server,)
    (first,), (second,) = Branch(server, "sha256-aa").list_pids(), Branch(server, "sha256-bb").list_pids()
    assert {server, first, second} < set(whole.list_pids())
    assert Branch(server, "sha256-cc").list_pids() == ()
    assert [branch.has_root for branch in (whole, alone, Branch(server, "x"))] == [True, True, False]


def test_what_is_below_the_process_with_the_file_belongs_to_the_branch(tmp_path: Path) -> None:
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEPS!r}])"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}, '/models/m.gguf'])"
    process = subprocess.Popen([sys.executable, "-c", outer])
    until(lambda: len(Branch(process.pid, "m.gguf").list_pids()) == 2)
    for pid in reversed(Branch(process.pid).list_pids()):
        subprocess.run(["kill", "-9", str(pid)], check=False, timeout=PATIENCE_S)
    process.wait(PATIENCE_S)


def test_an_ended_process_has_no_command_line() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(PATIENCE_S)
    assert read_command_line(process.pid) == ()
