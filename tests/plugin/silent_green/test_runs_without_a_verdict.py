"""A run whose budgets were all left unjudged: it fails in strict mode, and the last line says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import SIMULATED

if TYPE_CHECKING:
    from tests.conftest import Runs

STRICT = "--llmperf-strict"
SOURCE = """
@pytest.mark.memory_budget(peak="2 GiB")
def test_answers(llm_client):
    llm_client.generate("x", max_tokens=2)

def test_plain():
    pass
"""
SKIPPED = """
@pytest.mark.skip(reason="later")
@pytest.mark.memory_budget(peak="2 GiB")
class TestAnswers:
    def test_one(self, llm_client): pass

    def test_two(self, llm_client): pass
"""
NONE = "error: no budget of "


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_without_an_engine(runs: Runs, workers: int) -> None:
    if workers:
        pytest.importorskip("xdist")
    runs.write(SOURCE)
    result = runs.plain(SOURCE, STRICT, *([f"-n{workers}"] if workers else []))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines([f"{NONE}1 test was judged: no engine was given: run them with --llm-engine=NAME, *"])
    assert result.stdout.str().count("no engine was given") == 2  # the other line counts all tests that were skipped


def test_ci_is_strict(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "1")
    assert runs.plain(SOURCE).ret == pytest.ExitCode.TESTS_FAILED


OTHERS = {
    "skipped": SKIPPED,
    "skipped inside": SOURCE.replace("llm_client.gen", "pytest.skip()\n    llm_client.gen"),
    "skipped by a fixture": SOURCE.replace("(llm_client)", "(no_gpu)")
    + "\n@pytest.fixture\ndef no_gpu():\n    pytest.skip('no GPU')\n",
    "for another engine": SOURCE.replace("@pytest.mark.mem", "@pytest.mark.llm_engines('vllm')\n@pytest.mark.mem"),
    "not run": SOURCE.replace("@pytest.mark.mem", "@pytest.mark.xfail(run=False)\n@pytest.mark.mem"),
}


@pytest.mark.parametrize("why", OTHERS)
def test_a_run_whose_tests_are_all_skipped(runs: Runs, why: str) -> None:
    result = runs(OTHERS[why], STRICT)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{NONE}* was judged: all of them were skipped, *"])


def test_elsewhere_it_is_a_line(runs: Runs) -> None:
    result = runs(SKIPPED)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["warning: no budget of 2 tests was judged: all of them were skipped, *"])


def test_one_verdict_is_enough(runs: Runs) -> None:
    result = runs(SOURCE + SKIPPED, STRICT)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*was judged:*")


@pytest.mark.parametrize(
    "options",
    [["-k", "plain"], ["--collect-only"], ["--setup-plan"], ["--deselect=test_it.py::test_answers"]],
    ids=" ".join,
)
def test_a_run_that_was_not_asked_for_a_verdict_needs_none(runs: Runs, options: list[str]) -> None:
    result = runs.plain(SOURCE, STRICT, *options)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*was judged:*")


@pytest.mark.parametrize("ini", ["llmperf_disable = true", "addopts = --llmperf-disable"])
@pytest.mark.parametrize("engine", [[SIMULATED], []])
def test_a_switch_that_was_left_in_a_file(pytester: pytest.Pytester, runs: Runs, ini: str, engine: list[str]) -> None:
    pytester.makeini(f"[pytest]\n{ini}\n")
    result = runs.plain(SOURCE, STRICT, *engine)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{NONE}1 test was judged: llmperf_disable is set in the ini file, or *: remove it *"])


def test_the_switch_on_the_command_line_is_the_will_of_who_started_the_run(runs: Runs) -> None:
    result = runs(SOURCE, STRICT, "--llmperf-disable")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*was judged:*")


def test_budgets_of_the_file_count_too(pytester: pytest.Pytester, runs: Runs) -> None:
    (pytester.path / "llmperf.toml").write_text(
        '[[budget]]\ntests = "*::test_answers"\nmemory.peak = "2 GiB"\n', encoding="utf-8"
    )
    result = runs.plain(SOURCE.replace('@pytest.mark.memory_budget(peak="2 GiB")', ""), STRICT)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{NONE}1 test was judged: *"])


def test_a_worse_status_stays(runs: Runs) -> None:
    result = runs.plain(SOURCE + "\ndef test_stops():\n    pytest.exit('enough', returncode=3)\n", STRICT)
    assert result.ret == 3


def test_the_reason_is_shown_without_a_summary_too(runs: Runs) -> None:
    if pytest.version_tuple < (9, 2):
        pytest.skip("--no-summary silences all summaries before pytest 9.2")
    result = runs.plain(SOURCE, STRICT, "--no-summary")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{NONE}1 test was judged: *"])
