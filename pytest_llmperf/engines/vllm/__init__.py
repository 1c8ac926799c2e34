"""The engine `vllm`: a server, one that already runs, or vLLM inside pytest."""

from pytest_llmperf.engines.vllm.server import VLLMEngine

__all__ = ["VLLMEngine"]
