"""Translates engine arguments to vLLM's command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psutil

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.measurement.units import BYTES, UnitError, parse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# ``mode=offline`` is vLLM inside pytest.
MODE = "mode"
_GIB = 2**30
_CPU_KV_CACHE = 4 * _GIB
_SIZES_OF_KV_CACHE = ("kv_cache_memory_bytes", "gpu_memory_utilization", "num_gpu_blocks_override")

SHARE_CAVEAT = (
    "vllm takes a share of the device whatever a test does (gpu_memory_utilization): give its KV cache a size, "
    "llm_engine_args['kv_cache'] = '4 GiB', or limit what the test needed, memory_budget(required=...)"
)


def build_command_line(settings: Mapping[str, str]) -> list[str]:
    """``{"max_model_len": "2048", "enforce_eager": "true"}`` → ``--max-model-len=2048 --enforce-eager``.

    ``false`` gives ``--no-KEY``, and an empty value the flag alone. Whether an option exists is for vLLM to say.
    """
    words = []
    for key, value in settings.items():
        # What stands behind a dot (compilation_config.cudagraph_mode) is a key of vLLM's own.
        name, dot, rest = key.partition(".")
        flag = name.replace("_", "-") + dot + rest
        if flag == "lora-modules":
            words += [f"--{flag}", *_list_modules(value)]
        elif value.lower() == "false":
            words.append(f"--no-{flag}")
        elif value.lower() == "true" or not value:
            words.append(f"--{flag}")
        else:
            words.append(f"--{flag}={value}")
    return words


def _list_modules(value: str) -> list[str]:
    """The adapters as vLLM reads them: ``name=path`` of a JSON object of paths by name, else as they were given."""
    try:
        given = json.loads(value)
    except ValueError:
        return value.split()
    if isinstance(given, dict) and "path" not in given:
        return [f"{name}={path}" for name, path in given.items()]
    return [json.dumps(one) for one in (given if isinstance(given, list) else [given])]


def parse_kv_cache_bytes(arguments: Mapping[str, str]) -> int | None:
    """What ``kv_cache="4 GiB"`` asks for, in bytes; None if it is not given.

    Raises:
        EngineError: not a size, or the KV cache is sized in another way as well.
    """
    if "kv_cache" not in arguments:
        return None
    others = [key for key in _SIZES_OF_KV_CACHE if key in arguments]
    if others:
        raise EngineError(f"vllm: kv_cache and {others[0]} both say how large the KV cache is: give one of them")
    try:
        return int(parse(arguments["kv_cache"], BYTES))
    except UnitError as error:
        raise EngineError(f"vllm: engine argument kv_cache={error}") from None


def sizes_kv_cache(arguments: Mapping[str, str]) -> bool:
    """Whether the KV cache has a size of its own, and not what is left of a share of the device."""
    return any(key in arguments for key in ("kv_cache", "kv_cache_memory_bytes", "num_gpu_blocks_override"))


def choose_kv_cache_bytes(arguments: Mapping[str, str]) -> int | None:
    """Bytes of KV cache on a host's memory if no argument sizes it: 4 GiB, or a quarter of a smaller host; else None.

    vLLM itself would take 92 % of the host's memory.
    """
    if any(key in arguments for key in _SIZES_OF_KV_CACHE):
        return None
    return int(min(_CPU_KV_CACHE, psutil.virtual_memory().total // 4))


def choose_served_name(arguments: Mapping[str, str], model: str, folder: Path | None) -> str:
    """The name that requests must give: vLLM's default is the whole path of a folder."""
    given = arguments.get("served_model_name", "").split()
    return given[0] if given else folder.name if folder else model
