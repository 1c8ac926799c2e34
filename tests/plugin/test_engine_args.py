"""llm_engine_args and --llmperf-engine-arg: the project's settings below those of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conftest import SIMULATED

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs

SOURCE = """
@pytest.fixture(scope="session")
def llm_engine_args():
    return {{"output_tokens": 3, "simulated:tokens_per_chunk": 2, "llamacpp:ctx_size": 64}}

def test_tokens(llm_client):
    timing = llm_client.generate("x", max_tokens=16).timing
    assert (timing.output_tokens, len(timing.chunks)) == {expected}
"""


def test_the_project_configures_its_engine_by_overriding_the_fixture(runs: Runs) -> None:
    runs(SOURCE.format(expected=(3, 2))).assert_outcomes(passed=1)


def test_the_command_line_wins_over_the_project(runs: Runs) -> None:
    runs(SOURCE.format(expected=(5, 3)), output_tokens="5").assert_outcomes(passed=1)


def test_a_setting_for_another_engine_is_left_alone(runs: Runs, pytester: pytest.Pytester) -> None:
    settings = ["ttft=1 ms", "tpot=1 ms", "simulated:output_tokens=7", "llamacpp:nonsense=1"]
    pytester.makeini("[pytest]\nllmperf_engine_arg =\n    " + "\n    ".join(settings))
    runs.plain(SOURCE.format(expected=(7, 4)), SIMULATED).assert_outcomes(passed=1)


def test_a_bad_setting_of_the_project_is_named(runs: Runs) -> None:
    result = runs(
        """
        @pytest.fixture(scope="session")
        def llm_engine_args():
            return {"tftt": "1 s"}

        def test_asks(llm_client):
            pass
        """
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["ERROR *EngineUnavailable: simulated: unknown setting 'tftt'; *"])
    result.stdout.no_fnmatch_line("*loading*")
