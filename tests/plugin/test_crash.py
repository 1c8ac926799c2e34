"""An engine that dies during a test: the test is not judged, the log is shown, the next test gets a fresh engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Runs

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
    result.stdout.fnmatch_lines(["FAILED *NoVerdict: memory peak INVALID: simulated ended with status 70; *"])


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
