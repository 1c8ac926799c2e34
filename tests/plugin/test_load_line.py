"""While a load runs, a terminal shows how far it is, in one line that replaces itself; nothing else shows it."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Runs

LOAD = """
from pytest_llmperf import workload

def test_load(llm_client):
    llm_client.run(workload(prompt_tokens=5, output_tokens=2, requests=8), simulate={"ttft": "100 ms"})
"""


def test_a_terminal_shows_a_line_that_is_gone_in_the_end(runs: Runs) -> None:
    runs.write(LOAD)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--llm-engine=simulated"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs) as run:
        os.close(theirs)
        shown = b""
        # Linux ends a terminal whose other side is closed with an error.
        with contextlib.suppress(OSError):
            while data := os.read(ours, 65536):
                shown += data
    os.close(ours)
    assert run.returncode == 0, shown
    assert b"\rllmperf: load: 0 of 8 requests ended, 0 in flight, 0 failed" in shown
    last = shown.rpartition(b"llmperf: load: ")[2]
    assert last.partition(b"\r")[2].startswith(b" "), "the line is not taken away"


def test_elsewhere_nothing_is_shown(runs: Runs) -> None:
    result = runs(LOAD)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*load: *")
