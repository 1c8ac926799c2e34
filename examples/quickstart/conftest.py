"""How the engines of this suite are configured: the same tests run on each of them."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def llm_engine_args():
    # vLLM takes a share of the device for its KV cache unless it is told how much.
    return {"vllm:kv_cache": "256 MiB", "vllm:max_model_len": 2048, "vllm:enforce_eager": True}
