"""A store in the current folder, and the commands on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.__main__ import main
from pytest_llmperf.baselines.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return Store(tmp_path / ".llmperf")


@pytest.fixture
def command(store: Store, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str], list[str]]]:
    """Runs a command in the folder of the store; gives its status, its lines on stdout and those on stderr."""

    def run(*arguments: str) -> tuple[int, list[str], list[str]]:
        capsys.readouterr()
        status = main(arguments)
        output = capsys.readouterr()
        return status, output.out.splitlines(), output.err.splitlines()

    return run
