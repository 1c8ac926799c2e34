"""Whether a running engine is the one asked for, judged by the files on disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.system.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_llmperf.engines.api.spec import EngineSpec

# What any engine may read from its environment; each states its own names beside them. The values are compared by
# their digest, since some are secrets.
_ENVIRON = (
    *("CUDA_", "NVIDIA_", "NCCL_", "HIP_", "ROCR_", "HF_", "TRANSFORMERS_"),
    *("TORCH", "PYTORCH_", "TRITON_", "RAY_", "OMP_", "GOMP_", "KMP_", "MKL_", "LD_PRELOAD", "LD_LIBRARY_PATH"),
)


@dataclass(frozen=True)
class Identity:
    """An engine as it was asked for, and the state of what it is made from: plain values, equal for equal engines.

    ``asked`` differs between engines that may run side by side. ``made_from`` differs when the same engine, started
    now, would be another one: it names the model's files, the program and this plugin.
    """

    asked: dict[str, Any]
    made_from: dict[str, str]

    @staticmethod
    def of(spec: EngineSpec, environ: Mapping[str, str], program: str, prefixes: tuple[str, ...] = ()) -> Identity:
        """The identity of the engine that would be started now. ``program`` is what would be run, with its version.

        ``prefixes`` are what the names of the engine's own environment variables begin with.
        """
        path = Path(spec.model).expanduser().absolute() if spec.model else None
        exists = path is not None and path.exists()
        settings = {name: value for name, value in environ.items() if name.startswith(_ENVIRON + prefixes)}
        return Identity(
            asked={
                "engine": spec.engine,
                "variant": spec.variant,
                "model": str(path) if exists else spec.model,
                "args": dict(sorted(spec.args.items())),
                "binary": spec.binary,
                "environ": _digest(settings),
            },
            made_from={
                "model": _stamp(path)
                if path is not None and exists
                else _stamp(find_hub_folder(spec.model or "", environ) / "refs"),
                "program": program,
                "plugin": __version__,
            },
        )

    def changes_since(self, found: Mapping[str, Any]) -> str:
        """What has changed since ``found``, an identity as it was noted, in a few words; "" if nothing has."""
        before = found.get("made_from", {})
        changed = [name for name, state in self.made_from.items() if before.get(name) != state]
        return f"its {' and its '.join(changed)} changed since it was started" if changed else ""


def describe_program_file(command: str) -> str:
    """A program that can be run, with the state of its file; "" if there is none."""
    path = shutil.which(command)
    return f"{path} {_stamp(Path(path))}" if path else ""


def _stamp(path: Path) -> str:
    """Changes with any file at or below ``path``, links followed; the same for all that do not exist."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return _digest([[str(file.relative_to(path)), *_state(file)] for file in files if file.is_file()])


def _state(file: Path) -> Iterable[int]:
    stat = file.stat()
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


def find_hub_folder(model: str, environ: Mapping[str, str]) -> Path:
    """Where the Hugging Face cache has a model, whether it is there or not.

    ``refs`` in it notes the commits that it has: rewritten when it gets another one.
    """
    home = environ.get("HF_HOME") or os.path.join(environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    cache = Path(environ.get("HF_HUB_CACHE") or os.path.join(home, "hub")).expanduser()
    return cache / f"models--{model.replace('/', '--')}"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
