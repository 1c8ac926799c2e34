"""Where the tokenizer of the model is, and how close the figures of a tool must be to ours."""

from __future__ import annotations

import os

import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--tokenizer",
        default=os.environ.get("LOAD_TOOLS_TOKENIZER", ""),
        help="folder or hub id of the model's tokenizer, for tools that make their prompts with it",
    )
    parser.addoption(
        "--agreement",
        type=float,
        default=0.02,
        help="share by which the output rate of a tool may differ from the one that is judged (default: 0.02)",
    )


@pytest.fixture(scope="session")
def llm_engine_args():
    # About 3 s for a tool: long enough for what it spends beside its requests to be below 2 %.
    return {"simulated:tpot": "2 ms", "simulated:ttft": "20 ms", "vllm:kv_cache": "512 MiB", "vllm:enforce_eager": True}
