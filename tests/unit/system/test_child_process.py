from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import pytest

import pytest_llmperf
from pytest_llmperf.system.child_process import environment_of_ours, how_it_ended


@pytest.mark.parametrize(
    ("status", "log", "text"),
    [
        (-9, b"", "killed by SIGKILL"),
        (-99, b"", "killed by signal 99"),
        (1, b"Traceback:\n  ...\nValueError: no\n\n", "exit status 1: ValueError: no"),
        (2, b"x" * 500, f"exit status 2: {'x' * 200}"),
    ],
)
def test_how_a_process_ended_is_told_by_its_status_and_its_last_line(status: int, log: bytes, text: str) -> None:
    assert how_it_ended(status, BytesIO(log)) == text


def test_our_processes_find_the_package_that_started_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    home = Path(pytest_llmperf.__file__).parents[1]
    paths = environment_of_ours()["PYTHONPATH"].split(os.pathsep)
    assert paths == (["/elsewhere"] if home.name == "site-packages" else ["/elsewhere", str(home)])
