"""Finds Ollama: the program to start, or the server that runs already."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_llmperf.engines.api.spec import EngineError

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.spec import EngineSpec

_DEFAULT_PORT = 11434
_STANDARD_PORTS = {"http": 80, "https": 443}
_ANY_ADDRESS = ("0.0.0.0", "::", "")
_APPLICATION = "/Applications/Ollama.app/Contents/Resources/ollama"
_WELL_KNOWN = ("/usr/local/bin/ollama", "/opt/homebrew/bin/ollama", _APPLICATION)


def find_ollama(binary: str | None) -> str:
    """The program to run.

    Raises:
        EngineError: there is none.
    """
    if binary:
        if shutil.which(binary) is None:
            raise EngineError(f"ollama: {binary!r} cannot be run; --llmperf-engine-bin is an ollama")
        return binary
    found = shutil.which("ollama") or next((path for path in _WELL_KNOWN if os.access(path, os.X_OK)), None)
    if found is None:
        raise EngineError(
            "ollama is not installed here: see https://ollama.com/download, or give --llmperf-engine-bin=PATH, or "
            "--llmperf-url=http://HOST:11434 of a server that runs"
        )
    return found


def find_attached_url(spec: EngineSpec) -> str:
    """The URL of the server to attach to, by --llmperf-url or OLLAMA_HOST; "" to start one."""
    if spec.url:
        return spec.url.rstrip("/").removesuffix("/v1")
    host = os.environ.get("OLLAMA_HOST", "").strip().strip("\"'")
    return parse_host_url(host) if host and not spec.binary else ""


def parse_host_url(host: str) -> str:
    """``OLLAMA_HOST`` as an address: ``box`` → ``http://box:11434``, ``0.0.0.0`` → ``http://127.0.0.1:11434``."""
    has_scheme = "://" in host
    parts = urlsplit(host if has_scheme else f"http://{host}")
    standard = _STANDARD_PORTS.get(parts.scheme, _DEFAULT_PORT) if has_scheme else _DEFAULT_PORT
    try:
        name, port = parts.hostname or "", parts.port or standard
    except ValueError:
        raise EngineError(f"OLLAMA_HOST={host} is not an address: write it like 127.0.0.1:11434") from None
    name = "127.0.0.1" if name in _ANY_ADDRESS else name
    return f"{parts.scheme}://{f'[{name}]' if ':' in name else name}:{port}"
