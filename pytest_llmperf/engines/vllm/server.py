"""The ``vllm`` engine: vLLM's own server, from this environment or another one, or one that already runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.engine import Engine, EngineError, EngineSpec, Progress
from pytest_llmperf.engines.kv_cache import checkpoint
from pytest_llmperf.engines.lifecycle.http import check_port, free_port, http_get
from pytest_llmperf.engines.lifecycle.server_engine import ServerEngine
from pytest_llmperf.engines.lifecycle.shared_memory import SharedMemory
from pytest_llmperf.engines.openai.engine import OpenAIEngine
from pytest_llmperf.engines.vllm.arguments import (
    MODE,
    SHARE_CAVEAT,
    command_line,
    default_kv_cache,
    kv_cache_bytes,
    served_name,
    sizes_kv_cache,
)
from pytest_llmperf.engines.vllm.dialect import DIALECT
from pytest_llmperf.engines.vllm.environment import find_vllm
from pytest_llmperf.engines.vllm.log import Startup, reason, stage
from pytest_llmperf.engines.vllm.metrics import Counters, kv_pool, metrics_url, reserved
from pytest_llmperf.engines.vllm.observation import VLLMObservation
from pytest_llmperf.engines.vllm.sleep import ARGUMENT, SERVER_ENVIRON, ServerSleeper, SleepingEngine
from pytest_llmperf.measurement.measurement import Reading
from pytest_llmperf.system.prometheus import MetricsPage
from pytest_llmperf.telemetry.cpu import cpu_device

if TYPE_CHECKING:
    from pytest_llmperf.engines.kv_cache.looks import KVPool
    from pytest_llmperf.engines.vllm.sleep import Sleeper
    from pytest_llmperf.system.prometheus import Sample

_DEFAULTS = {
    "host": "127.0.0.1",
    # Else nobody learns how much of a prompt came from the prefix cache.
    "enable_prompt_tokens_details": "true",
    # We ask for its metrics many times a second.
    "disable_uvicorn_access_log": "true",
}


class VLLMEngine(SleepingEngine, ServerEngine):
    """A model behind vLLM's OpenAI API; with ``mode=offline`` it is one inside pytest instead."""

    name = "vllm"
    dialect = DIALECT

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        if MODE in spec.args or spec.url:
            (_offline_engine() if MODE in spec.args else AttachedVLLMEngine).check(spec)
            return
        if not spec.model:
            raise EngineError("vllm needs a model: --llmperf-model=ID, a hub id or a folder")
        find_vllm(spec.binary)
        kv_cache_bytes(spec.args)
        check_port(spec.args.get("port", "0"), "port")

    @classmethod
    def create(cls, spec: EngineSpec) -> Engine:
        if MODE in spec.args:
            return _offline_engine()(spec)
        return AttachedVLLMEngine(spec) if spec.url else cls(spec)

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        assert spec.model is not None
        # Made absolute, since a test may change the folder before the engine is started again.
        folder = Path(spec.model).expanduser().absolute()
        self._folder = folder if folder.is_dir() else None
        self.model = served_name(spec.args, spec.model, self._folder)
        self._environment = find_vllm(spec.binary)
        self.computes_on_gpu = None if self._environment.for_cpu is None else not self._environment.for_cpu
        self._port = 0
        self._readings: dict[str, Reading] = {}
        self._pool: KVPool | None = None
        self._shared_memory = SharedMemory()

    def _program(self) -> str:
        return " ".join([super()._program(), self._environment.version, *self._environment.command])

    def _command(self, directory: Path) -> list[str]:
        asked = {key: value for key, value in self.spec.args.items() if key not in ("kv_cache", "port")}
        kv_bytes = kv_cache_bytes(self.spec.args)
        if kv_bytes is None and self._environment.for_cpu:
            kv_bytes = default_kv_cache(asked)
        self._port = int(self.spec.args.get("port", "0")) or free_port()
        settings = {**_DEFAULTS, "served_model_name": self.model, "port": str(self._port)}
        if kv_bytes is not None:
            settings["kv_cache_memory_bytes"] = str(kv_bytes)
        model = str(self._folder or self.spec.model)
        return [*self._environment.command, model, *command_line({**settings, **asked})]

    def _environ(self) -> dict[str, str]:
        assert self._directory is not None
        temporary = self._directory / "tmp"
        temporary.mkdir(exist_ok=True)
        defaults = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        if self._folder is not None:
            defaults["HF_HUB_OFFLINE"] = "1"
        if ARGUMENT in self.spec.args:
            defaults |= SERVER_ENVIRON
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if self._environment.for_cpu and cores <= 4:
            # Threads that wait for each other crawl as soon as anything else, such as the client, wants a core.
            defaults |= {"OMP_NUM_THREADS": str(max(1, cores // 2)), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        # What it leaves in its folder for temporary files goes with ours.
        return defaults | super()._environ() | {"TMPDIR": str(temporary)}

    def _find_url(self, directory: Path) -> str | None:
        return f"http://127.0.0.1:{self._port}/v1"

    def _stage(self) -> str:
        self._shared_memory.note(self.pids)
        return stage(self._log())

    def _explain(self) -> str:
        return reason(self._log())

    def _log(self) -> str:
        return self._process.log.read_text(errors="replace") if self._process else ""

    def _on_ready(self) -> None:
        self._level = 0
        self.version = server_version(self.base_url)
        samples = read_metrics(self.base_url)
        startup = Startup.read(self._log())
        on_cpu = self._environment.for_cpu or startup.on_cpu
        self.computes_on_gpu = not on_cpu
        self.devices = (cpu_device(),) if on_cpu else ()
        self._pool = kv_pool(samples, startup.workers, startup.kv_bytes)
        self._readings = {"memory.weights": self._weights(startup), "memory.kv_reserved": reserved(self._pool)}
        self.peak_caveat = "" if on_cpu or sizes_kv_cache(self.spec.args) else SHARE_CAVEAT
        self._shared_memory.note(self.pids)

    def _weights(self, startup: Startup) -> Reading:
        if startup.weights_bytes is not None:
            return Reading(startup.weights_bytes, "stated by vLLM while loading", samples=1)
        if startup.workers > 1:
            return Reading.missing("this vLLM does not state it, and its checkpoint does not tell what a worker holds")
        return checkpoint.weights(self._folder, startup.dtype)

    def readings(self) -> dict[str, Reading]:
        """Weights and KV cache as the server stated them while loading."""
        return dict(self._readings)

    def observe(self) -> VLLMObservation:
        return VLLMObservation(self, self._pool)

    def _sleeper(self) -> Sleeper:
        return ServerSleeper(self.base_url)

    def gone(self) -> str:
        return super().gone() or ("" if self.unloaded else unwell(self.base_url))

    def stop(self) -> None:
        self._shared_memory.note(self.pids)
        super().stop()
        self._shared_memory.remove()


def _offline_engine() -> type[Engine]:
    # Imported when it is asked for: a server that was kept is found again sooner without it.
    from pytest_llmperf.engines.vllm.offline.engine import VLLMOfflineEngine

    return VLLMOfflineEngine


class AttachedVLLMEngine(OpenAIEngine):
    """A vLLM server that already runs."""

    name = "vllm"
    dialect = DIALECT

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self._pool: KVPool | None = None

    def start(self, progress: Progress) -> None:
        super().start(progress)
        self.version = server_version(self.base_url)
        self._pool = kv_pool(read_metrics(self.base_url))

    def readings(self) -> dict[str, Reading]:
        return {"memory.kv_reserved": reserved(self._pool)}

    def observe(self) -> VLLMObservation:
        return VLLMObservation(self, self._pool)


def server_version(base_url: str) -> str:
    """The version a server states.

    Raises:
        EngineError: it is no vLLM server.
    """
    try:
        return str(json.loads(http_get(f"{base_url.removesuffix('/v1')}/version"))["version"])
    except (OSError, ValueError, KeyError, TypeError):
        raise EngineError(f"the server at {base_url} is no vLLM server: /version does not answer") from None


def read_metrics(base_url: str) -> list[Sample]:
    """A server's metrics, once they are known to be vLLM's.

    Raises:
        EngineError: they are not, or cannot be had.
    """
    page = MetricsPage(metrics_url(base_url), timeout=10.0)
    try:
        samples = page.read()
        Counters.of(samples)
    except (OSError, ValueError) as error:
        raise EngineError(f"the metrics of the server at {base_url} are not to be had: {error}") from None
    finally:
        page.close()
    return samples


def unwell(base_url: str) -> str:
    """Why a server whose process runs can no longer answer; empty while it can, or when it is only slow."""
    try:
        http_get(f"{base_url.removesuffix('/v1')}/health")
    except OSError as error:
        if getattr(error, "code", None) == 503:
            return "vllm has lost its engine core"
        if isinstance(getattr(error, "reason", error), ConnectionRefusedError):
            return "vllm no longer listens"
    return ""
