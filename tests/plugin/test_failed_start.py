"""An engine that cannot be started is not tried again: every test that needs it fails at once, for the same reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

SOURCE = """
def test_first(llm_client):
    pass

def test_second(llm_engine):
    pass

def test_other():
    pass
"""


def test_the_second_test_fails_at_once_with_the_same_reason(runs: Runs) -> None:
    result = runs(SOURCE, crash_on_start="true")
    result.assert_outcomes(errors=2, passed=1)
    assert str(result.stdout).count("simulated: loading") == 1
    result.stdout.fnmatch_lines(
        [
            "ERROR test_it.py::test_first - EngineUnavailable: simulated ended with status 3 while starting",
            "ERROR test_it.py::test_second - EngineUnavailable: simulated ended with status 3 while starting",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_the_report_shows_the_end_of_the_engines_log(runs: Runs) -> None:
    result = runs(SOURCE, "--show-capture=no", crash_on_start="true")
    result.stdout.fnmatch_lines(["*- log of simulated, its last lines -*", "*crash_on_start*"])


def test_a_start_that_takes_too_long_says_how_to_wait_longer(runs: Runs) -> None:
    result = runs(SOURCE, "--llmperf-startup-timeout=0.3", startup_time="1 min")
    result.assert_outcomes(errors=2, passed=1)
    result.stdout.fnmatch_lines(
        ["ERROR *EngineUnavailable: simulated was not ready after 0.3 s; --llmperf-startup-timeout=SECONDS *"]
    )


def test_a_model_path_that_is_none_is_refused_before_vllm_is_looked_for(runs: Runs) -> None:
    result = runs.plain(SOURCE, "--llm-engine=vllm:/nonexistent/model")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: llmperf: vllm: there is no folder '/nonexistent/model'; --llmperf-model is a hub id or *"]
    )
