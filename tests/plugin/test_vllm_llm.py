"""vllm_llm: the ``vllm.LLM`` itself, where the engine is one inside pytest."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

SUITE = """
def test_asks_the_llm(vllm_llm):
    raise AssertionError("never gets here")
"""


def test_on_another_engine_the_test_is_skipped_with_what_it_needs(runs: Runs) -> None:
    result = runs(SUITE, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["SKIPPED * vllm_llm needs --llm-engine=vllm --llmperf-engine-arg=mode=offline; this run uses simulated"]
    )


def test_without_an_engine_the_test_is_skipped(runs: Runs) -> None:
    result = runs.plain(SUITE, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * no engine: run pytest with --llm-engine=NAME *"])


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_in_this_environment_the_run_does_not_start_and_says_why(runs: Runs) -> None:
    result = runs.plain(SUITE, "--llm-engine=vllm:model", "--llmperf-engine-arg=mode=offline")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*mode=offline runs inside pytest, and vLLM is not installed in its environment*"])
