"""--llmperf-report=out.md, and the summary of a GitHub Actions step."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.conftest import Runs

SOURCE = """
@pytest.mark.memory_budget(peak="2 GiB")
def test_inside(llm_client):
    llm_client.generate("x", max_tokens=2)

@pytest.mark.memory_budget(peak="1 MiB")
def test_beyond(llm_client):
    llm_client.generate("x", max_tokens=2)
"""


def test_the_report_has_the_verdict_the_table_and_the_failures(runs: Runs, pytester: pytest.Pytester) -> None:
    runs(SOURCE, "--llmperf-report=out.md")
    text = (pytester.path / "out.md").read_text(encoding="utf-8")
    assert "❌ 1 of 2 budgets broken" in text
    assert text.count("<summary>❌") == 1
    assert "`test_it.py::test_inside`" in text


def test_the_step_summary_is_appended_to_without_being_asked(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "step.md"
    summary.write_text("# What was there\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    runs(SOURCE)
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("# What was there\n")
    assert "❌ 1 of 2 budgets broken" in text


def test_a_run_without_measured_tests_adds_nothing_to_it(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    runs.plain("def test_plain():\n    pass\n").assert_outcomes(passed=1)
    assert not (tmp_path / "step.md").exists()


def test_a_run_that_failed_before_a_test_was_measured_says_so_there(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "step.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    runs(
        """
        @pytest.fixture
        def database():
            raise RuntimeError("no database")

        @pytest.mark.memory_budget(peak="2 GiB")
        def test_with_it(database, llm_client):
            pass
        """
    ).assert_outcomes(errors=1)
    text = summary.read_text(encoding="utf-8")
    assert "❌ 1 error in setup or teardown" in text
    assert "in setup: RuntimeError: no database" in text


def test_a_step_summary_that_cannot_be_written_is_said_and_fails_nothing(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    result = runs(SOURCE, "-k", "inside")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["GITHUB_STEP_SUMMARY could not be written: Is a directory"])
