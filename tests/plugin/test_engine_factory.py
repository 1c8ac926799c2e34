"""llm_engine_factory: further engines beside the one of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugin.test_signals import assert_gone, pids_in

if TYPE_CHECKING:
    from tests.conftest import Runs


def test_it_starts_further_engines_once_and_ends_them_with_the_session(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs.plain(
        """
        from pytest_llmperf.traffic.llm_client import LLMClient

        def test_pair(llm_engine_factory):
            small = llm_engine_factory("simulated", model="small", args={"ttft": "1 ms"})
            large = llm_engine_factory("simulated", model="large")
            assert small.pids != large.pids
            assert llm_engine_factory("simulated", model="small", args={"ttft": "1 ms"}) is small
            assert set(llm_engine_factory.engines) == {small, large}
            with open("pids", "w") as file:
                print(*small.pids, *large.pids, file=file)

        @pytest.mark.memory_budget(peak="2 GiB")
        def test_memory_of_all_of_them_counts(llm_engine_factory):
            assert len(llm_engine_factory.engines) == 2
        """,
        "--llmperf-strict",
    )
    result.assert_outcomes(passed=2)
    assert str(result.stdout).count("ready after") == 2
    result.stdout.fnmatch_lines(["*memory.peak * PASS"])
    assert_gone(pids_in(pytester.path / "pids"))


def test_the_options_of_the_start_hold_for_it_too(runs: Runs) -> None:
    result = runs.plain(
        """
        def test_slow(llm_engine_factory):
            llm_engine_factory("simulated", args={"startup_time": "600 s"})
        """,
        "--llmperf-startup-timeout=0.3",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED * - EngineUnavailable: simulated was not ready after 0.3 s; *"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("('vlm')", "unknown engine 'vlm': it is one of vllm, ollama, llamacpp, openai, simulated"),
        ("('simulated', args={'tftt': '1 s'})", "simulated: unknown setting 'tftt'; *"),
        ("('simulated', program='/bin/x')", "simulated is always started here: it takes neither --llmperf-url nor *"),
        ("('openai', url='http://127.0.0.1:9', program=Path('/bin/x'))", "openai with --llmperf-url starts nothing: *"),
        ("('llamacpp', program='/nowhere/llama-server')", "llamacpp: */nowhere/llama-server* cannot be run*"),
        ("('simulated', args={'crash_on_start': True})", "simulated ended with status 3 while starting"),
    ],
)
def test_an_engine_that_cannot_be_had_fails_the_test_in_one_line(runs: Runs, call: str, message: str) -> None:
    imports = "from pathlib import Path\n" if "Path(" in call else ""
    result = runs.plain(f"{imports}def test_bad(llm_engine_factory):\n    llm_engine_factory{call}\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"FAILED test_it.py::test_bad - EngineUnavailable: {message}"])
