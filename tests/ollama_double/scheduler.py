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
import urllib.error
import urllib.request
from contextlib import suppress
from datetime import UTC, datetime, timedelta
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
}
REQUEST_OPTIONS = {
    "num_keep": int,
    "num_predict": int,
    "seed": int,
    "temperature": float,
    "top_k": int,
    "top_p": float,
    "min_p": float,
    "typical_p": float,
    "repeat_last_n": int,
    "repeat_penalty": float,
    "presence_penalty": float,
    "frequency_penalty": float,
    "stop": list,
}
TRAINED_CONTEXT = 8192
_TOKEN_BYTES = 23040
_BYTES_OF = {"f16": 1.0, "q8_0": 34 / 64, "q4_0": 18 / 64}
_MEMORY = 24 << 20
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_FOR_EVER = 292.47 * 365.25 * 86400
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


def check(options: dict[str, Any]) -> dict[str, Any]:
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
    """A loaded model and its runner; it is listed under the ``name`` and ``digest`` that it was loaded by first."""

    def __init__(self, name: str, digest: str, file: Path, launch: dict[str, Any], settings: dict[str, Any]) -> None:
        self.name, self.digest, self.file, self.launch = name, digest, file, launch
        self.context = launch["num_ctx"]
        self.padded = math.ceil(self.context / 256) * 256
        self.slots = int(os.environ.get("OLLAMA_NUM_PARALLEL") or 1)
        self.semaphore = threading.Semaphore(self.slots)
        self.keep_alive = self.used = 0.0
        self.running = 0
        self.last_prompt: list[str] = []
        self.emptied = 0
        kind = os.environ.get("OLLAMA_KV_CACHE_TYPE") or "f16"
        if kind not in _BYTES_OF:
            raise Refusal(500, "llama-server process has terminated: exit status 1")
        kv = _TOKEN_BYTES * _BYTES_OF[kind] * self.padded * self.slots
        self.size = int(96576768 + 199229 + kv + 14.51 * 2**20)
        # On a processor with AMX the weights lie in a buffer of that name, which the server takes for a GPU's.
        amx, on_gpu = bool(settings.get("amx")), float(settings.get("vram", 0))
        self.size_vram = 96576768 if amx else int(self.size * on_gpu)
        for stage, kind_of_buffer, taken in (("load_tensors", "model", 92.1), ("llama_kv_cache", "KV", kv / 2**20)):
            rest = "AMX" if amx and kind_of_buffer == "model" else "CPU"
            for buffer, share in (("CUDA0", on_gpu), (rest, 1 - on_gpu)):
                if share:
                    size = f"{buffer:>12} {kind_of_buffer} buffer size = {share * taken:8.2f} MiB"
                    print(f"{stage}: {size}", file=sys.stderr, flush=True)
        time.sleep(settings.get("startup_seconds", 0.0))
        self.port = _free_port()
        command = self._command(kind, old=settings.get("version", "") < "0.30" and "version" in settings)
        environ = {**os.environ, "LLMPERF_DOUBLE_BYTES": str(settings.get("memory_bytes", {}).get(self.name, _MEMORY))}
        self.runner = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE)
        read_line(self.runner.stdout)

    def _command(self, kind: str, *, old: bool) -> list[str]:
        program = Path(sys.argv[0]).resolve()
        where = ["--model", str(self.file), "--port", str(self.port)]
        if old:
            return [str(program), "runner", "--ollama-engine", *where]
        server = program.parents[1] / "lib" / "ollama" / "llama-server"
        cache = [] if kind == "f16" else ["--cache-type-k", kind, "--cache-type-v", kind]
        size = ["-c", str(self.padded * self.slots), "-np", str(self.slots), "-b", str(self.launch["num_batch"])]
        mapped = [] if self.launch["use_mmap"] else ["--load-mode", "none"]
        threads = ["-t", str(self.launch["num_thread"])] if self.launch["num_thread"] else []
        return [str(server), *where, "--host", "127.0.0.1", "--no-webui", "--offline", *size, *mapped, *threads, *cache]

    @property
    def expires_at(self) -> str:
        """As Go writes it; a model that stays for ever has a time that is centuries away."""
        left = min(self.keep_alive, _FOR_EVER) + self.used - time.monotonic()
        return (
            (datetime.now(UTC) + timedelta(seconds=left)).isoformat(timespec="microseconds").replace("+00:00", "123Z")
        )

    @property
    def dead(self) -> bool:
        return self.runner.poll() is not None

    def end(self) -> None:
        """Ends it once its requests have ended, as long as its server lives."""
        deadline = time.monotonic() + PATIENCE_S
        while self.running and not self.dead and time.monotonic() < deadline:
            time.sleep(0.005)
        self.kill()

    def kill(self) -> None:
        self.runner.send_signal(signal.SIGKILL)
        self.runner.wait(PATIENCE_S)

    def count(self, **rises: int) -> dict[str, int]:
        """Adds to the counts of its runner; returns them, none of a runner that has ended."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/", json.dumps(rises).encode())
        with suppress(ConnectionError, urllib.error.URLError):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=10) as answer:
                counts: dict[str, int] = json.load(answer)
                return counts
        return {}

    def remember(self, prompt: list[str]) -> int:
        """How many of these words were in the cache."""
        emptied = self.count().get("emptied", 0)
        if emptied > self.emptied:
            self.emptied, self.last_prompt = emptied, []
        common = 0
        for old, new in zip(self.last_prompt, prompt[:-1], strict=False):
            if old != new:
                break
            common += 1
        self.last_prompt = prompt
        return common


class Scheduler:
    """Knows a loaded model by its file: two names of one file are one model."""

    def __init__(self, store: Store, settings: dict[str, Any]) -> None:
        self._store, self._settings = store, settings
        self._lock = threading.RLock()
        self._loaded: dict[Path, Model] = {}
        threading.Thread(target=self._expire, daemon=True).start()

    def list_loaded(self) -> list[Model]:
        return sorted(self._loaded.values(), key=lambda model: model.keep_alive, reverse=True)

    def grant(self, name: str, options: dict[str, Any], keep_alive: float | None, *, shift: bool = True) -> Model:
        """The model, loaded with these options, those of the model, and the defaults of the server."""
        stored, file = self._store.models()[name], self._store.file_of(name)
        asked = {key: value for key, value in {**stored.parameters, **options}.items() if key in STARTUP_OPTIONS}
        defaults = {"num_ctx": default_context(), "num_batch": 512, "num_thread": 0, "use_mmap": False}
        launch = {**defaults, **asked, "shift": shift}
        launch["num_ctx"] = min(launch["num_ctx"], TRAINED_CONTEXT)
        with self._lock:
            model = self._loaded.get(file)
            if model is None or model.dead or model.launch != launch:
                self.unload(file)
                while len(self._loaded) >= int(os.environ.get("OLLAMA_MAX_LOADED_MODELS") or 3):
                    self.unload(min(self._loaded.values(), key=_eviction_order).file)
                model = self._loaded[file] = Model(name, stored.digest, file, launch, self._settings)
                model.keep_alive = seconds(os.environ.get("OLLAMA_KEEP_ALIVE") or "5m")
            if keep_alive is not None:
                model.keep_alive = keep_alive
            model.used = time.monotonic()
            return model

    def expire(self, name: str) -> None:
        """Unloads the model of this name a moment later."""
        threading.Timer(0.017, self.unload, [self._store.file_of(name)]).start()

    def unload(self, file: Path) -> None:
        with self._lock:
            model = self._loaded.pop(file, None)
        if model is not None:
            model.end()

    def stop(self) -> None:
        for model in list(self._loaded.values()):
            model.kill()

    def _expire(self) -> None:
        while True:
            time.sleep(0.02)
            with self._lock:  # one that has just been loaded does not know yet how long it stays
                now = time.monotonic()
                over = [m.file for m in self._loaded.values() if not m.running and now - m.used > m.keep_alive]
                for file in over:
                    self.unload(file)


def default_context() -> int:
    """The context of a model that does not say another, for requests that do not either."""
    return int(os.environ.get("OLLAMA_CONTEXT_LENGTH") or 4096)


def _eviction_order(model: Model) -> tuple[bool, float, Path]:
    """An idle one first, then the one that would go soonest after its requests."""
    return bool(model.running), model.keep_alive, model.file


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
