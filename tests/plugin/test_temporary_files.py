"""Temporary folders that are full, read-only or cleared while a run uses them: one line that says so, and no hang."""

from __future__ import annotations

import errno
import os
import tempfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs


def test_a_folder_of_the_run_that_is_cleared_away_fails_its_tests_in_one_line(runs: Runs) -> None:
    result = runs.in_subprocess(
        """
        import shutil

        def test_while_a_cleaner_runs(llm_client, request):
            shutil.rmtree(request.config.workerinput["llmperf_run"])

        def test_measured(llm_client):
            pass

        def test_plain():
            pass
        """,
        "-n1",
    )
    result.assert_outcomes(passed=2, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (line,) = (line for line in result.outlines if line.startswith("ERROR "))
    assert "test_measured - EngineUnavailable: the folder of this run, " in line
    assert "was removed while it ran" in line
    assert "INTERNALERROR" not in str(result.stdout)


def fill(*_: object, dir: str | None = None, **__: object) -> str:  # noqa: A002
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{dir or tempfile.gettempdir()}/x")


def test_a_temporary_folder_without_room_is_one_line(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "mkdtemp", fill)
    result = runs("def test_measured(llm_client):\n    pass\n", "-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    (line,) = (line for line in result.outlines if line.startswith("ERROR "))
    assert "simulated cannot be started: " in line
    assert line.endswith("No space left on device; make room there, or set TMPDIR to a folder that has some")
    assert "Traceback" not in str(result.stdout)
