"""vLLM's own server as a process of ours, from this environment or another one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.lifecycle.http import UNREADABLE_JSON, check_port, find_free_port, http_get
from pytest_llmperf.engines.lifecycle.server_deployment import ServerDeployment
from pytest_llmperf.engines.lifecycle.shared_memory import SharedMemory
from pytest_llmperf.engines.vllm import first_request
from pytest_llmperf.engines.vllm.arguments import (
    build_command_line,
    choose_kv_cache_bytes,
    choose_served_name,
    parse_kv_cache_bytes,
)
from pytest_llmperf.engines.vllm.environment import find_vllm
from pytest_llmperf.engines.vllm.log import Startup, find_reason, find_stage
from pytest_llmperf.engines.vllm.model import check_model
from pytest_llmperf.engines.vllm.model_facts import read_model_facts
from pytest_llmperf.engines.vllm.prompt_cache import empty_server_cache
from pytest_llmperf.engines.vllm.sleep import SERVER_ENVIRON, ServerSleeper, SleepingDeployment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.api.model_facts import ModelFacts
    from pytest_llmperf.engines.api.spec import EngineSpec, Progress
    from pytest_llmperf.engines.vllm.sleep import Sleeper

_DEFAULTS = {
    "host": "127.0.0.1",
    # Without it answers do not say how much of a prompt came from the prefix cache.
    "enable_prompt_tokens_details": "true",
    # Its metrics are read many times a second.
    "disable_uvicorn_access_log": "true",
}


class VLLMServer(SleepingDeployment, ServerDeployment):
    """Serves a model of the hub or a folder.

    Attributes:
        environment: the vLLM that runs it.
        folder: the model's; None for one of the hub.
        startup: what its log said while it started.
    """

    environ_prefixes = ("VLLM_",)

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        assert spec.model is not None
        # Made absolute, since a test may change the folder before the engine is started again.
        folder = Path(spec.model).expanduser().absolute()
        self.folder = folder if folder.is_dir() else None
        self.model = choose_served_name(spec.args, spec.model, self.folder)
        self.environment = find_vllm(spec.binary)
        self.startup = Startup()
        self._port = 0
        self._shared_memory = SharedMemory()

    @staticmethod
    def check(spec: EngineSpec) -> None:
        """Refuses settings that the server would not start with.

        Raises:
            EngineError: naming the option and what would be right.
        """
        if not spec.model:
            raise EngineError("vllm needs a model: --llmperf-model=ID, a hub id or a folder")
        check_model(spec.model, spec.args)
        find_vllm(spec.binary)
        parse_kv_cache_bytes(spec.args)
        check_port(spec.args.get("port", "0"), "port")

    @property
    def is_on_cpu(self) -> bool:
        """Whether it computes on the CPU, as far as it has said."""
        return bool(self.environment.for_cpu) or self.startup.on_cpu

    def describe_program(self) -> str:
        return " ".join([super().describe_program(), self.environment.version, *self.environment.command])

    def command(self, folder: Path) -> list[str]:
        asked = {key: value for key, value in self.spec.args.items() if key not in ("kv_cache", "port")}
        kv_bytes = parse_kv_cache_bytes(self.spec.args)
        if kv_bytes is None and self.environment.for_cpu:
            kv_bytes = choose_kv_cache_bytes(asked)
        self._port = int(self.spec.args.get("port", "0")) or find_free_port()
        settings = {**_DEFAULTS, "served_model_name": self.model, "port": str(self._port)}
        if kv_bytes is not None:
            settings["kv_cache_memory_bytes"] = str(kv_bytes)
        model = str(self.folder or self.spec.model)
        return [*self.environment.command, model, *build_command_line({**settings, **asked})]

    def environ(self, inherited: Mapping[str, str], folder: Path) -> dict[str, str]:
        temporary = folder / "tmp"
        temporary.mkdir(exist_ok=True)
        defaults = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", **SERVER_ENVIRON}
        if self.folder is not None or self.spec.pull is False:
            defaults["HF_HUB_OFFLINE"] = "1"
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if self.environment.for_cpu and cores <= 4:
            # Threads that wait for each other crawl as soon as anything else, such as the client, wants a core.
            defaults |= {"OMP_NUM_THREADS": str(max(1, cores // 2)), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        # What it leaves in its folder for temporary files is removed with ours.
        return {**defaults, **inherited, "TMPDIR": str(temporary)}

    def find_url(self, folder: Path) -> str | None:
        return f"http://127.0.0.1:{self._port}/v1"

    def _wait_ready(self, folder: Path, started: float, progress: Progress) -> None:
        super()._wait_ready(folder, started, progress)
        on_cpu = self.environment.for_cpu or Startup.read(self.read_log()).on_cpu
        if on_cpu and first_request.has_amx():
            first_request.send_to_server(self.base_url, self.model, self.spec.startup_timeout, progress)

    def describe_stage(self) -> str:
        self._shared_memory.note(self.pids)
        return find_stage(self.read_log()) or "importing its packages"

    def explain_end(self) -> str:
        return find_reason(self.read_new_log())

    def read_version(self) -> str:
        self.startup = Startup.read(self.startup_log)
        self._shared_memory.note(self.pids)
        return read_version(self.base_url)

    def read_model_facts(self) -> ModelFacts:
        return read_model_facts(self.spec, self.folder)

    def empty_prompt_cache(self) -> None:
        empty_server_cache(self.base_url, self.spec.args)

    def sleeper(self) -> Sleeper:
        return ServerSleeper(self.base_url)

    def find_failure(self) -> str:
        return find_failure(self.base_url)

    def stop(self) -> None:
        self._shared_memory.note(self.pids)
        super().stop()
        self._shared_memory.remove()


def read_version(base_url: str) -> str:
    """The version a server states.

    Raises:
        EngineError: it is not a vLLM server.
    """
    try:
        return str(json.loads(http_get(f"{base_url.removesuffix('/v1')}/version"))["version"])
    except (OSError, *UNREADABLE_JSON):
        raise EngineError(f"the server at {base_url} is not a vLLM server: /version does not answer") from None


def find_failure(base_url: str) -> str:
    """Why a server whose process runs can no longer answer; "" while it can, or if it is only slow."""
    try:
        http_get(f"{base_url.removesuffix('/v1')}/health")
    except OSError as error:
        if getattr(error, "code", None) == 503:
            return "vllm has lost its engine core"
        if isinstance(getattr(error, "reason", error), ConnectionRefusedError):
            return "vllm no longer listens"
    return ""
