"""An engine that dies during a test: the test is not judged, the log is shown, the next test gets a fresh engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.engine_processes import own_tmp

if TYPE_CHECKING:
    from tests.conftest import Runs

__all__ = ["own_tmp"]

SOURCE = """
@pytest.mark.memory_budget(peak="1 B")
def test_crashes(llm_client):
    with pytest.raises(Exception):
        llm_client.generate("x", max_tokens=9)

@pytest.mark.memory_budget(peak="2 GiB")
def test_after_it(llm_client):
    assert llm_client.generate("x", max_tokens=2).text
"""


def test_the_measurement_is_invalid_and_says_why(runs: Runs) -> None:
    result = runs(SOURCE, crash_after="5")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_after_it * memory.peak * PASS", "budgets: 1 PASS, 1 INVALID"])
    assert str(result.stdout).count("ready after") == 2
    result.stdout.fnmatch_lines(["llmperf: simulated ended with status 70; starting it again"])


def test_under_strict_the_test_fails_with_the_end_of_the_engines_log(runs: Runs) -> None:
    result = runs(SOURCE, "--llmperf-strict", "--show-capture=no", crash_after="5")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*- log of simulated, its last lines -*", "*crash_after*"])
    result.stdout.fnmatch_lines(["FAILED *NoVerdict: memory.peak INVALID: simulated ended with status 70; *"])


def test_a_test_that_fails_by_the_crash_shows_the_log_too(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(peak="2 GiB")
        def test_crashes(llm_client):
            llm_client.generate("x", max_tokens=9)
        """,
        crash_after="5",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["memory.peak * INVALID", "*- log of simulated, its last lines -*", "*crash_after*"])
    result.stdout.fnmatch_lines(["FAILED *RequestFailed: *"])


EACH_CRASHES = """
@pytest.mark.parametrize("n", range(5))
@pytest.mark.memory_budget(peak="2 GiB")
def test_crashes(llm_client, n):
    llm_client.generate("x", max_tokens=9)
"""


@pytest.mark.parametrize("options", [(), ("-n2",)], ids=["one process", "two workers"])
def test_an_engine_that_dies_twice_in_the_same_way_is_not_started_again(
    runs: Runs, own_tmp: Path, options: tuple[str, ...]
) -> None:
    result = runs.in_subprocess(EACH_CRASHES, *options, crash_after="5")
    result.assert_outcomes(failed=2, errors=3)
    assert str(result.stdout).count("ready after") == 2
    end = "simulated ended with status 70, 2 times in a row: it is not started again"
    assert len(re.findall(rf"^ERROR .*EngineUnavailable: {end}$", str(result.stdout), re.MULTILINE)) == 3


def test_an_engine_that_lives_through_a_test_in_between_is_started_again(runs: Runs) -> None:
    source = """
    @pytest.mark.parametrize("tokens", [9, 2, 9, 2, 9, 2])
    @pytest.mark.memory_budget(peak="2 GiB")
    def test_crashes_or_not(llm_client, tokens):
        llm_client.generate("x", max_tokens=tokens)
    """
    result = runs(source, crash_after="5")
    result.assert_outcomes(failed=3, passed=3)


def test_an_engine_that_a_test_restarts_itself_is_not_given_up(runs: Runs) -> None:
    source = """
    import os, signal, time

    @pytest.mark.parametrize("n", range(4))
    def test_kills_it(llm_engine, n):
        os.kill(llm_engine.pids[0], signal.SIGKILL)
        llm_engine.restart()
    """
    runs(source).assert_outcomes(passed=4)


@pytest.mark.parametrize("options", [(), ("-n2",)], ids=["one process", "two workers"])
def test_the_log_of_an_engine_that_died_is_kept_and_the_path_is_said(
    runs: Runs, own_tmp: Path, options: tuple[str, ...]
) -> None:
    result = runs.in_subprocess(SOURCE, *options, crash_after="5")
    result.assert_outcomes(passed=2)
    (path,) = re.findall(r"^llmperf: simulated: its log is kept: (.*)$", str(result.stdout), re.MULTILINE)
    assert "crash_after: 5 tokens were sent" in Path(path).read_text(encoding="utf-8")


def test_the_log_of_a_start_that_failed_is_kept_and_named_below_its_last_lines(runs: Runs, own_tmp: Path) -> None:
    result = runs.in_subprocess("def test_it(llm_engine): ...", crash_on_start="true")
    result.assert_outcomes(errors=1)
    (path,) = re.findall(r"^\(the whole log: (.*)\)$", str(result.stdout), re.MULTILINE)
    assert "crash_on_start" in Path(path).read_text(encoding="utf-8")


@pytest.mark.parametrize("fails", [True, False])
def test_the_logs_of_a_run_that_failed_are_kept_for_any_reason(runs: Runs, own_tmp: Path, fails: bool) -> None:
    result = runs.in_subprocess(f"def test_it(llm_engine): assert {not fails}")
    paths = re.findall(r"^llmperf: simulated: its log is kept: (.*)$", str(result.stdout), re.MULTILINE)
    assert [Path(path).exists() for path in paths] == ([True] if fails else [])
