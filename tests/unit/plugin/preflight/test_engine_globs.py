"""Globs over engines in budgets: which of them can match an engine of this run, or of another one."""

from __future__ import annotations

import pytest

from pytest_llmperf.engines.registry import EngineRegistry
from pytest_llmperf.plugin.preflight.engine_globs import why_engine_unknown
from tests.helpers.streams import limits


@pytest.mark.parametrize("glob", ["new", "n*", "v0.31", "vllm", "vl*", "vllm:Qwen/*", "*:small"])
def test_labels_names_and_models_may_be_meant(glob: str) -> None:
    assert why_engine_unknown(limits("memory", peak="1 GiB", engine=glob), ["new", "v0.31"], EngineRegistry()) == ""


@pytest.mark.parametrize("glob", ["old", "ne", "new:small", "vlm", "NEW"])
def test_a_glob_that_names_nothing_is_told_with_what_there_is(glob: str) -> None:
    told = why_engine_unknown(limits("memory", peak="1 GiB", engine=glob), ["new", "v0.31"], EngineRegistry())
    assert told == (
        f"test_it: @memory_budget: engine={glob!r} names no engine: there are new, v0.31, vllm, ollama, llamacpp, "
        "openai, simulated"
    )
