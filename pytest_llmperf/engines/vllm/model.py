"""Whether a model that is named by a path can be one of vLLM's, found out before vLLM is imported, which takes long."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.spec import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

# The second is Mistral's own format.
_CONFIGS = ("config.json", "params.json")
# With one of these a folder may be without them, with one of those a file may be a model.
_CONFIG_ELSEWHERE = ("hf_config_path", "config_format", "load_format")
_READS_FILES = ("load_format", "quantization", "tokenizer")
# A hub id is a name, or an owner and a name.
_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?(?::[\w.-]+)?")


def check_model(model: str, arguments: Mapping[str, str]) -> None:
    """Refuses a path that vLLM cannot serve; whether a hub id exists is for vLLM to find out.

    Raises:
        EngineError: there is no such folder, it has no configuration, or it is a file.
    """
    if "://" in model:
        return
    path = Path(model).expanduser()
    if path.is_file():
        _refuse_file(model, path, arguments)
    elif path.is_dir():
        _refuse_folder(model, path, arguments)
    elif _looks_like_path(model):
        raise EngineError(f"vllm: there is no folder {model!r}; --llmperf-model is a hub id or the folder of a model")


def _refuse_folder(model: str, path: Path, arguments: Mapping[str, str]) -> None:
    if any((path / name).is_file() for name in _CONFIGS) or any(key in arguments for key in _CONFIG_ELSEWHERE):
        return
    inside = "; it holds GGUF files, which are for llamacpp and ollama" if any(path.glob("*.gguf")) else ""
    raise EngineError(
        f"vllm: the folder {model!r} has no config.json, so it is not a model that vLLM can serve{inside}"
    )


def _refuse_file(model: str, path: Path, arguments: Mapping[str, str]) -> None:
    if any(key in arguments for key in _READS_FILES):
        return
    hint = "give its folder"
    if path.suffix.lower() == ".gguf":
        hint = "GGUF files are for llamacpp and ollama, or for vLLM's GGUF plugin with the argument load_format=gguf"
    raise EngineError(f"vllm: {model!r} is a file, and vLLM serves a hub id or a folder: {hint}")


def _looks_like_path(model: str) -> bool:
    begins = model.startswith((os.sep, "~", f".{os.sep}", f"..{os.sep}")) or model in (".", "..")
    return begins or model.endswith((os.sep, ".gguf", ".safetensors")) or not _HUB_ID.fullmatch(model)
