"""llm_engines: a test that is meant for some engines is skipped on the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Runs


def test_a_test_for_other_engines_is_skipped_with_the_reason_before_any_engine_starts(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.llm_engines("vllm", "ollama")
        def test_for_others(llm_client):
            raise AssertionError
        """,
        "-rs",
    )
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * runs on vllm, ollama only, not on simulated"])
    result.stdout.no_fnmatch_line("*loading*")


def test_a_test_for_this_engine_runs_and_a_closer_marker_wins(runs: Runs) -> None:
    result = runs(
        """
        pytestmark = pytest.mark.llm_engines("vllm")

        def test_for_others(llm_engine):
            raise AssertionError

        @pytest.mark.llm_engines("vllm", "simulated")
        def test_for_this(llm_engine):
            pass
        """
    )
    result.assert_outcomes(skipped=1, passed=1)
