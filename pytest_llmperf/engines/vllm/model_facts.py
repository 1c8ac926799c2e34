"""Which model vLLM serves, told by its files: those of a folder, or of a snapshot in the cache of the hub."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.api.model_facts import ModelFacts
from pytest_llmperf.engines.lifecycle.identity import find_hub_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_llmperf.engines.api.spec import EngineSpec

_CONFIGS = ("config.json", "params.json")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")
_COMMIT = re.compile("[0-9a-f]{40}")
_BLOCK = 2**16


def read_model_facts(spec: EngineSpec, folder: Path | None) -> ModelFacts:
    """The facts of the model of a spec whose engine has started; ``folder`` is the model's, None for one of the hub.

    The digest of a model of the hub is the commit of its snapshot. That of another folder is of its configuration, and
    of the name, size, first and last 64 KiB of each file of weights, so that a start does not read all of them.

    Raises:
        OSError, ValueError: a file cannot be read, or is not what it should be.
    """
    found = folder or _find_snapshot(spec.model or "", spec.args, os.environ)
    if found is None:
        return ModelFacts()
    is_snapshot = found.parent.name == "snapshots" and _COMMIT.fullmatch(found.name)
    digest = found.name if is_snapshot else _digest_files(found)
    return ModelFacts(digest, find_quantisation(_read_config(found), spec.args))


def find_quantisation(config: Mapping[str, Any], arguments: Mapping[str, str]) -> str:
    """How the weights are quantised, as the arguments or the model's ``config.json`` say; else their data type."""
    inner = config.get("text_config") or {}
    stated = config.get("quantization_config") or inner.get("quantization_config") or {}
    dtype = arguments.get("dtype", "auto")
    return str(
        arguments.get("quantization")
        or stated.get("quant_method")
        or (dtype if dtype != "auto" else "")
        or next((one[key] for one in (config, inner) for key in ("dtype", "torch_dtype") if one.get(key)), "")
    )


def _find_snapshot(model: str, arguments: Mapping[str, str], environ: Mapping[str, str]) -> Path | None:
    """The folder of a model's files in the cache of the hub; None if they are not there."""
    caches = [find_hub_folder(model, environ)]
    if "download_dir" in arguments:
        caches.append(Path(arguments["download_dir"]).expanduser() / caches[0].name)
    revision = arguments.get("revision", "main")
    for cache in caches:
        ref = cache / "refs" / revision
        snapshot = cache / "snapshots" / (ref.read_text(encoding="utf-8").strip() if ref.is_file() else revision)
        if snapshot.is_dir():
            return snapshot
    return None


def _read_config(folder: Path) -> Mapping[str, Any]:
    for name in _CONFIGS:
        if (folder / name).is_file():
            content = json.loads((folder / name).read_text(encoding="utf-8"))
            return content if isinstance(content, dict) else {}
    return {}


def _digest_files(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.name in _CONFIGS or file.suffix in _WEIGHTS:
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            for block in _read_ends(file):
                digest.update(block)
    return digest.hexdigest()


def _read_ends(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        yield content.read(_BLOCK)
        content.seek(max(_BLOCK, file.stat().st_size - _BLOCK))
        yield content.read()
