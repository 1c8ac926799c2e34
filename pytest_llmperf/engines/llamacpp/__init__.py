"""The engine `llamacpp`: llama.cpp's server."""

from pytest_llmperf.engines.llamacpp.engine import LlamaCppEngine

__all__ = ["LlamaCppEngine"]
