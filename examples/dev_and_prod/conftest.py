"""Two engines: the one of --llm-engine answers, and a small one beside it checks."""

from __future__ import annotations

import os

import pytest

# NAME or NAME:MODEL, as for --llm-engine: llamacpp with its bundled model, or ollama:qwen3:0.6b on a laptop.
CHECKER = os.environ.get("CHECKER", "llamacpp")


@pytest.fixture(scope="session")
def llm_engine_args():
    # vLLM takes a share of the device for its KV cache unless it is told how much.
    return {"vllm:kv_cache": "256 MiB", "vllm:max_model_len": 2048, "vllm:enforce_eager": True}


@pytest.fixture(scope="session")
def checker(llm_engine_factory):
    name, _, model = CHECKER.partition(":")
    return llm_engine_factory(name, model=model or None, args={"ctx_size": 1024} if name == "llamacpp" else None)
