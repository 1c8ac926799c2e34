"""Whether the body of a test can run again and again, on one engine and on the other."""

from __future__ import annotations

import unittest

import pytest

from pytest_llmperf.engines.api.engine import Engine

# Fixtures that hold what belongs to one engine, and why a test with them cannot change its engine.
_BOUND = {
    "benchmark": "the benchmark fixture repeats the code itself",
    "vllm_llm": "vllm_llm is the engine itself, in this process",
    "llm_engine_factory": "llm_engine_factory starts engines of the test's own beside the two",
}


def why_not_repeatable(item: pytest.Item, engine: object) -> str:
    """Why a test cannot be run on two engines by turns, in one sentence; empty if it can.

    ``engine`` is the value of its fixture ``llm_engine``; None if it has none.
    """
    if not isinstance(item, pytest.Function):
        return f"a {type(item).__name__} is no function that can be called again"
    if isinstance(getattr(item, "instance", None), unittest.TestCase):
        return "a unittest.TestCase is set up for one call: write it as a function or a plain class"
    for name, why in _BOUND.items():
        if name in item.funcargs:
            return why
    if "llm_engine" not in item.fixturenames:
        return "it does not name llm_client or llm_engine among its arguments, and nothing else can change its engine"
    if not isinstance(engine, Engine):
        return "llm_engine is overridden with something else than an engine of this run"
    return ""
