"""pytest-randomly: in any order, each engine is started once, and the verdicts are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

pytest.importorskip("pytest_randomly")

SOURCE = """
@pytest.mark.memory_budget(peak="2 GiB")
@pytest.mark.parametrize("number", range(3))
def test_inside(llm_client, number):
    assert llm_client.generate("x", max_tokens=2).text

@pytest.mark.memory_budget(peak="1 MiB")
def test_beyond(llm_client):
    assert llm_client.generate("x", max_tokens=2).text

def test_plain():
    pass
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_two_engines_are_loaded_once_each(runs: Runs, seed: int) -> None:
    result = runs.plain(
        SOURCE,
        *("-p", "randomly", f"--randomly-seed={seed}"),
        *("--llm-engine=simulated:one", "--llm-engine=simulated:two"),
        *runs.arguments(),
    )
    result.assert_outcomes(passed=7, failed=2)
    result.stdout.fnmatch_lines(["budgets: 6 PASS, 2 FAIL"])
    assert [result.stdout.str().count(f"loading {name}") for name in ("one", "two")] == [1, 1]


def test_workers_agree_on_the_order(runs: Runs) -> None:
    pytest.importorskip("xdist")
    result = runs(SOURCE, "-p", "randomly", "-n2")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["budgets: 3 PASS, 1 FAIL"])
