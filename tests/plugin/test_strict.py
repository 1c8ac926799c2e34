"""Strict mode: a budget without a verdict fails its test. CI turns it on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

UNMEASURED = """
@pytest.mark.memory_budget(kv_cache="1 GiB")
def test_unmeasured(llm_client):
    llm_client.generate("x", max_tokens=2)
"""


@pytest.mark.parametrize(
    ("ci", "ini", "option", "strict"),
    [
        (None, None, None, False),
        ("true", None, None, True),
        ("1", None, None, True),
        ("false", None, None, False),
        (None, "true", None, True),
        ("true", "false", None, False),
        (None, None, "--llmperf-strict", True),
        ("true", None, "--llmperf-no-strict", False),
        (None, "true", "--llmperf-no-strict", False),
        (None, "false", "--llmperf-strict", True),
    ],
)
def test_the_command_line_wins_over_the_ini_and_the_ini_over_ci(
    runs: Runs,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    ci: str | None,
    ini: str | None,
    option: str | None,
    strict: bool,
) -> None:
    if ci is not None:
        monkeypatch.setenv("CI", ci)
    if ini is not None:
        pytester.makeini(f"[pytest]\nllmperf_strict = {ini}\n")
    result = runs(UNMEASURED, *([option] if option else []))
    result.assert_outcomes(failed=int(strict), passed=int(not strict))
    result.stdout.fnmatch_lines(["budgets: 1 NOT MEASURED"])
    if strict:
        result.stdout.fnmatch_lines(["llmperf: engine simulated *; strict"])
        result.stdout.fnmatch_lines(["FAILED *NoVerdict: memory.kv_cache NOT MEASURED: *"])


BOTH = """
@pytest.mark.memory_budget(peak="1 MiB", kv_cache="1 GiB", weights="1 GiB")
def test_beyond_and_unmeasured(llm_client):
    llm_client.generate("x", max_tokens=2)
"""


def test_a_broken_budget_beside_one_without_a_verdict_is_neither_of_the_two(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # the summary is not cut, whatever the processor is called
    result = runs(BOTH, "--llmperf-strict")
    result.assert_outcomes(failed=1)
    [line] = [line for line in result.outlines if line.startswith("FAILED ")]
    assert "BudgetFailure: memory.peak " in line
    assert "; memory.kv_cache NOT MEASURED: " in line
    assert line.endswith(" (and 1 more)")


def test_without_strict_it_is_broken_and_no_more(runs: Runs) -> None:
    result = runs(BOTH)
    result.stdout.fnmatch_lines(["FAILED *BudgetExceeded: memory.peak *"])
    result.stdout.no_fnmatch_line("FAILED * more)")
