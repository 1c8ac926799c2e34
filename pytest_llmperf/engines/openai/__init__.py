"""The engine `openai`: any OpenAI-compatible server that already runs."""

from pytest_llmperf.engines.openai.engine import OpenAIEngine

__all__ = ["OpenAIEngine"]
