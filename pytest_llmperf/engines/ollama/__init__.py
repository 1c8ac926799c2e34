"""The engine `ollama`: a server of our own or one that already runs."""

from pytest_llmperf.engines.ollama.engine import OllamaEngine

__all__ = ["OllamaEngine"]
