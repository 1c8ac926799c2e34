"""Which models are loaded, with what, until when: one runner each, a new one when what it is launched with changes."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.helpers.waiting import PATIENCE_S, read_line

if TYPE_CHECKING:
    from tests.ollama_double.store import Store

STARTUP_OPTIONS = {
    "num_ctx": int,
    "num_batch": int,
    "num_gpu": int,
    "main_gpu": int,
    "num_thread": int,
    "use_mmap": bool,
    "num_keep": int,
}
REQUEST_OPTIONS = {
    "num_predict": int,
    "seed": int,
    "temperature": float,
    "top_k": int,
    "top_p": float,
    "min_p": float,
    "stop": list,
}
TRAINED_CONTEXT = 8192
_TOKEN_BYTES = 23040
_BYTES_OF = {"f16": 1.0, "q8_0": 34 / 64, "q4_0": 18 / 64}
_MEMORY = 24 << 20
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_KINDS = {int: "integer", float: "float", bool: "boolean", list: "array"}


class Refusal(Exception):  # noqa: N818
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def warn(message: str, **fields: object) -> None:
    words = "".join(f" {key}={value}" for key, value in fields.items())
    print(
        f'time=2026-11-23T18:16:01.997Z level=WARN source=double.go:1 msg="{message}"{words}',
        file=sys.stderr,
        flush=True,
    )


def seconds(keep_alive: object) -> float:
    """``"10m"`` → 600; below 0 is for ever."""
    if isinstance(keep_alive, int | float):
        return float(keep_alive) if keep_alive >= 0 else math.inf
    text = str(keep_alive)
    if re.fullmatch(r"-?\d+", text):
        return seconds(int(text))
    found = re.fullmatch(r"(-?[\d.]+)(ms|s|m|h)", text)
    if found is None:
        raise Refusal(400, f'time: invalid duration "{text}"')
    value = float(found[1]) * _UNITS[found[2]]
    return value if value >= 0 else math.inf


def checked(options: dict[str, Any]) -> dict[str, Any]:
    """The options that the server knows; others are ignored, and only its log says so."""
    found = {}
    for key, value in options.items():
        kind = STARTUP_OPTIONS.get(key) or REQUEST_OPTIONS.get(key)
        if kind is None:
            warn("invalid option provided", option=key)
        elif kind in (int, float) and isinstance(value, str | list | bool):
            raise Refusal(500, f'option "{key}" must be of type {_KINDS[kind]}')
        else:
            found[key] = int(value) if kind is int else value
    return found


class Model:
    """A loaded model and its runner."""

    def __init__(self, name: str, file: Path, launch: dict[str, Any], settings: dict[str, Any]) -> None:
        self.name, self.launch = name, launch
        self.context = min(launch["num_ctx"], TRAINED_CONTEXT)
        self.padded = math.ceil(self.context / 256) * 256
        self.slots = int(os.environ.get("OLLAMA_NUM_PARALLEL") or 1)
        self.semaphore = threading.Semaphore(self.slots)
        self.keep_alive = self.used = 0.0
        self.running = 0
        self.last_prompt: list[str] = []
        kind = os.environ.get("OLLAMA_KV_CACHE_TYPE") or "f16"
        if kind not in _BYTES_OF:
            raise Refusal(500, "llama-server process has terminated: exit status 1")
        kv = _TOKEN_BYTES * _BYTES_OF[kind] * self.padded * self.slots
        self.size = int(96576768 + 199229 + kv + 14.51 * 2**20)
        for name, mebibytes in (("load_tensors", "model"), ("llama_kv_cache", "KV")):
            taken = 92.1 if mebibytes == "model" else kv / 2**20
            print(f"{name}:        CPU {mebibytes} buffer size = {taken:8.2f} MiB", file=sys.stderr, flush=True)
        self.size_vram = int(self.size * settings.get("vram", 0))
        time.sleep(settings.get("startup_seconds", 0.0))
        self.port = _free_port()
        command = self._command(file, kind, old=settings.get("version", "") < "0.30" and "version" in settings)
        environ = {**os.environ, "LLMPERF_DOUBLE_BYTES": str(_MEMORY)}
        self.runner = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE)
        read_line(self.runner.stdout)

    def _command(self, file: Path, kind: str, *, old: bool) -> list[str]:
        program = Path(sys.argv[0]).resolve()
        where = ["--model", str(file), "--port", str(self.port)]
        if old:
            return [str(program), "runner", "--ollama-engine", *where]
        server = program.parents[1] / "lib" / "ollama" / "llama-server"
        cache = [] if kind == "f16" else ["--cache-type-k", kind, "--cache-type-v", kind]
        size = ["-c", str(self.padded * self.slots), "-np", str(self.slots)]
        return [str(server), *where, "--host", "127.0.0.1", "--no-webui", "--offline", *size, *cache]

    @property
    def dead(self) -> bool:
        return self.runner.poll() is not None

    def kill(self) -> None:
        self.runner.send_signal(signal.SIGKILL)
        self.runner.wait(PATIENCE_S)

    def count(self, **rises: int) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/", json.dumps(rises).encode())
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).close()

    def remember(self, prompt: list[str]) -> int:
        """How many of these words were in the cache."""
        common = 0
        for old, new in zip(self.last_prompt, prompt[:-1], strict=False):
            if old != new:
                break
            common += 1
        self.last_prompt = prompt
        return common


class Scheduler:
    def __init__(self, store: Store, settings: dict[str, Any]) -> None:
        self._store, self._settings = store, settings
        self._lock = threading.RLock()
        self.loaded: dict[str, Model] = {}
        threading.Thread(target=self._expire, daemon=True).start()

    def grant(self, name: str, options: dict[str, Any], *, shift: bool = True) -> Model:
        """The model, loaded with these options."""
        asked = {key: value for key, value in options.items() if key in STARTUP_OPTIONS}
        default = int(os.environ.get("OLLAMA_CONTEXT_LENGTH") or 4096)
        launch = {"num_ctx": default, **asked, "shift": shift}
        with self._lock:
            model = self.loaded.get(name)
            if model is None or model.dead or model.launch != launch:
                keep_alive = model.keep_alive if model else seconds(os.environ.get("OLLAMA_KEEP_ALIVE") or "5m")
                self.unload(name)
                while len(self.loaded) >= int(os.environ.get("OLLAMA_MAX_LOADED_MODELS") or 3):
                    self.unload(min(self.loaded.values(), key=lambda one: one.used).name)
                model = self.loaded[name] = Model(name, self._store.file_of(name), launch, self._settings)
                model.keep_alive = keep_alive
            model.used = time.monotonic()
            return model

    def unload(self, name: str) -> None:
        with self._lock:
            model = self.loaded.pop(name, None)
        if model is not None:
            model.kill()

    def stop(self) -> None:
        for name in list(self.loaded):
            self.unload(name)

    def _expire(self) -> None:
        while True:
            time.sleep(0.02)
            now = time.monotonic()
            for model in list(self.loaded.values()):
                if not model.running and now - model.used > model.keep_alive:
                    self.unload(model.name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
