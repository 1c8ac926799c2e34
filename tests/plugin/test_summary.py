"""The summary at the end of a run: every budget with the room it has left, what did not pass first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs

SOURCE = """
@pytest.mark.memory_budget(peak="2 GiB")
@pytest.mark.latency_budget(e2e_max="10 s")
def test_inside(llm_client):
    llm_client.generate("x", max_tokens=2)

@pytest.mark.memory_budget(peak="1 MiB", kv_cache="1 MiB")
def test_beyond(llm_client):
    llm_client.generate("x", max_tokens=2)
"""


def summary(result: pytest.RunResult) -> list[str]:
    start = next(i for i, line in enumerate(result.outlines) if line.startswith("=") and " llmperf " in line)
    stop = next(i for i, line in enumerate(result.outlines) if i > start and line.startswith("="))
    return result.outlines[start + 1 : stop]


def test_it_shows_what_did_not_pass_first_and_counts_the_verdicts(runs: Runs) -> None:
    header, *rows, why, warmup, counts, again = summary(runs(SOURCE))
    assert header.split() == ["test", "budget", "measured", "limit", "margin", "verdict"]
    assert [row.split("  ")[-1] for row in rows] == ["FAIL", "NOT MEASURED", "PASS", "PASS"]
    assert why == "why: memory.kv_cache NOT MEASURED: the engine simulated does not state it (test_it.py::test_beyond)"
    assert warmup.startswith("engine warm-up: simulated ")
    assert counts == "budgets: 2 PASS, 1 FAIL, 1 NOT MEASURED"
    assert again.startswith("again: ")
    assert " pytest " in again
    assert again.endswith(" test_it.py::test_beyond")


def test_it_fits_into_a_narrow_terminal(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    result = runs(SOURCE, "-q")
    wide = summary(result)
    monkeypatch.setenv("COLUMNS", "60")
    result = runs(SOURCE, "-q")
    narrow = summary(result)
    assert len(wide) == 9
    assert max(len(line) for line in narrow if not line.startswith("again: ")) <= 60
    assert wide[-2] == "budgets: 2 PASS, 1 FAIL, 1 NOT MEASURED"
    assert wide[-2] in " ".join(narrow)


def test_verdicts_have_the_colours_of_pytest(runs: Runs) -> None:
    shown = runs(SOURCE, "--color=yes").stdout.str()
    for coloured in ("\x1b[31m\x1b[1mFAIL\x1b[0m", "\x1b[32mPASS\x1b[0m", "\x1b[33mNOT MEASURED\x1b[0m"):
        assert coloured in shown
    assert "\x1b[31m\x1b[1m1 FAIL\x1b[0m" in shown.split("budgets: ")[1]


def test_a_run_without_budgets_has_none(runs: Runs) -> None:
    result = runs("def test_plain():\n    pass\n")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*= llmperf =*")


def test_no_summary_silences_it(runs: Runs) -> None:
    result = runs(SOURCE, "--no-summary")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.no_fnmatch_line("*budgets: *")
