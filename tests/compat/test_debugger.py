"""--pdb and -x: a broken budget stops where any failure would, and nothing is left running."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import SIMULATED
from tests.plugin.test_signals import assert_gone, pids_in

if TYPE_CHECKING:
    from tests.conftest import Runs

SOURCE = """
@pytest.mark.memory_budget(peak="1 MiB")
@pytest.mark.parametrize("number", [1, 2])
def test_over(llm_client, llm_engine, number):
    llm_client.generate("x", max_tokens=2)
    with open("pids", "w") as file:
        print(*llm_engine.pids, file=file)
"""


@pytest.mark.parametrize(
    ("command", "status"),
    [("continue", pytest.ExitCode.TESTS_FAILED), ("quit", pytest.ExitCode.INTERRUPTED)],
)
def test_the_debugger_opens_on_a_broken_budget(
    runs: Runs, pytester: pytest.Pytester, command: str, status: pytest.ExitCode
) -> None:
    runs.write(SOURCE)
    options = [SIMULATED, *runs.arguments(), "--pdb", "--llmperf-report=out.json", "-k", "over and 1"]
    result = pytester.run(
        sys.executable, "-m", "pytest", *options, stdin=f"p failure\np measured.measurement\n{command}\n".encode()
    )
    assert result.ret == status
    result.stdout.fnmatch_lines(["memory.peak * > 1 MiB *", "memory.peak * FAIL", "*entering PDB*"])
    result.stdout.fnmatch_lines(["(Pdb) memory.peak * > 1 MiB *", "(Pdb) Measurement(*"])
    assert json.loads((pytester.path / "out.json").read_text(encoding="utf-8"))["counts"]["FAIL"] == 1
    assert_gone(pids_in(pytester.path / "pids"))


def test_the_first_broken_budget_is_the_last_test_under_x(
    runs: Runs, pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    result = runs(SOURCE, "-x", "--llmperf-report=out.json", *workers)
    assert result.ret == (pytest.ExitCode.INTERRUPTED if workers else pytest.ExitCode.TESTS_FAILED)
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])
    assert json.loads((pytester.path / "out.json").read_text(encoding="utf-8"))["counts"]["FAIL"] >= 1
    assert_gone(pids_in(pytester.path / "pids"))
