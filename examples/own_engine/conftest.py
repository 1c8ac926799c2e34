"""Registers the engine for the tests of this folder. A package that others install has an entry point instead."""

from llmperf_sglang import SGLangEngine


def pytest_llmperf_engines():
    return {"sglang": SGLangEngine}
