"""On GitHub Actions each broken budget is an error at the line of its test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

SOURCE = """
import unittest

pytestmark = pytest.mark.memory_budget(peak="1 MiB")

@pytest.mark.parametrize("case", [1, 2])
def test_cases(llm_client, case):
    llm_client.generate("x", max_tokens=2)

class TestOfAClass:
    def test_method(self, llm_client):
        llm_client.generate("x", max_tokens=2)

class TestInTheOldStyle(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def give(self, llm_client):
        self.client = llm_client

    def test_method(self):
        self.client.generate("x", max_tokens=2)
"""
PLACES = {8: "test_cases", 13: "TestOfAClass::test_method", 21: "TestInTheOldStyle::test_method"}


def errors(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("::")]


@pytest.mark.parametrize("options", [("-q", "--tb=no"), ("-p", "no:terminal"), ("-n2",)], ids=" ".join)
def test_each_test_function_has_one(runs: Runs, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]) -> None:
    if "-n2" in options:
        pytest.importorskip("xdist")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = runs.in_subprocess(SOURCE, *options)
    assert result.ret == 1
    found = sorted(errors(result), key=lambda line: int(line.partition("line=")[2].partition(",")[0]))
    for line, (number, name) in zip(found, PLACES.items(), strict=True):
        assert line.startswith(f"::error file=test_it.py,line={number},title=memory.peak FAIL::{name}: memory.peak ")
    assert "(2 cases, the worst [" in found[0]


def test_the_line_of_the_test_is_the_place_of_its_failure(runs: Runs) -> None:
    result = runs(SOURCE, "--tb=line")
    for line, name in PLACES.items():
        result.stdout.fnmatch_lines(
            [f"*test_it.py:{line}: BudgetExceeded: memory.peak *", f"test_it.py:{line} {name}*"]
        )
    assert errors(result) == []
