"""The ``llamacpp`` engine: llama.cpp's own server, from the ``xllamacpp`` wheel or any ``llama-server``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.engine import Engine, EngineError, EngineSpec, Progress
from pytest_llmperf.engines.bundled_model import NAME, bundled_model
from pytest_llmperf.engines.kv_cache.slots import SlotObservation, Slots
from pytest_llmperf.engines.lifecycle.http import announced_url, check_port, free_port, http_get, http_post
from pytest_llmperf.engines.lifecycle.server_engine import ServerEngine
from pytest_llmperf.engines.llamacpp.server_main import SETTINGS, VERBOSITY
from pytest_llmperf.engines.openai.engine import OpenAIEngine
from pytest_llmperf.measurement.measurement import Reading
from pytest_llmperf.telemetry.cpu import cpu_device
from pytest_llmperf.traffic.client.dialect import Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.traffic.client.dialect import Endpoint

_ANNOUNCE = "announce"
_WEIGHTS = re.compile(r"load_tensors:\s+(\S+) model buffer size =\s+([\d.]+) MiB")
_KV_CACHE = re.compile(r"llama_kv_cache\S*: size =\s+([\d.]+) MiB")
_SLOTS = re.compile(r"n_slots = (\d+), n_ctx_slot = (\d+), kv_unified = 'false'")


def _count_tokens(endpoint: Endpoint, text: str) -> int:
    asked = {"content": text, "add_special": True}
    return len(json.loads(http_post(f"{endpoint.root}/tokenize", asked))["tokens"])


DIALECT = Dialect(
    # With timings per token each chunk says how many tokens it brings.
    defaults={"timings_per_token": True},
    full_length={"ignore_eos": True},
    # A prompt that was answered before would come from the cache, with a TTFT ten times too good.
    prefix_settings=lambda share: {"cache_prompt": share},
    count_tokens=_count_tokens,
    # The server gives one of its few threads to each connection, idle or not.
    keeps_connections=False,
)


class LlamaCppEngine(ServerEngine):
    """A GGUF file behind llama.cpp's HTTP API; without a model, the bundled SmolLM2-135M-Instruct."""

    name = "llamacpp"
    dialect = DIALECT

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        if spec.url:
            AttachedLlamaCppEngine.check(spec)
            return
        if spec.model and not _model_file(spec.model).is_file():
            raise EngineError(f"llamacpp: there is no model file {spec.model!r}; --llmperf-model is a path to a GGUF")
        if spec.binary:
            if shutil.which(spec.binary) is None:
                raise EngineError(f"llamacpp: {spec.binary!r} cannot be run; --llmperf-engine-bin is a llama-server")
        else:
            _check_wheel_settings(spec.args)
        check_port(spec.args.get("port", "0"), "port")

    @classmethod
    def create(cls, spec: EngineSpec) -> Engine:
        return AttachedLlamaCppEngine(spec) if spec.url else cls(spec)

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self._file = _model_file(spec.model) if spec.model else None
        self.model = self._file.stem if self._file else NAME
        self._sizes: dict[str, Reading] = {}
        self._slots: Slots | None = None

    def _prepare(self, progress: Progress) -> None:
        if self._file is None:
            self._file = bundled_model(progress)

    def _program(self) -> str:
        return super()._program() or f"xllamacpp {importlib.metadata.version('xllamacpp')}"

    def _environ(self) -> dict[str, str]:
        # libgomp's default spinning makes the server crawl as soon as anything else wants the cores.
        return {"GOMP_SPINCOUNT": "1000"} | super()._environ()

    def _command(self, directory: Path) -> list[str]:
        assert self._file is not None
        if self.spec.binary:
            return self._binary_command(self.spec.binary, directory)
        settings = {**self.spec.args, "model": str(self._file), "alias": self.model}
        module = "pytest_llmperf.engines.llamacpp.server_main"
        return [sys.executable, "-P", "-m", module, str(directory / _ANNOUNCE), json.dumps(settings)]

    def _binary_command(self, binary: str, directory: Path) -> list[str]:
        defaults = {key: SETTINGS[key].default for key in ("ctx_size", "parallel", "threads", "cache_ram")}
        settings = {**defaults, "verbosity": VERBOSITY, **self.spec.args}
        port = settings.pop("port", "0")
        port = str(free_port()) if port == "0" else port
        (directory / _ANNOUNCE).write_text(f"http://127.0.0.1:{port}")
        command = [binary, "--model", str(self._file), "--alias", self.model, "--host", "127.0.0.1", "--port", port]
        for key, value in settings.items():
            command += [f"--{key.replace('_', '-')}", *([value] if value else [])]
        return [*command, "--metrics", "--slots"]

    def _find_url(self, directory: Path) -> str | None:
        return announced_url(directory / _ANNOUNCE)

    def _on_ready(self) -> None:
        assert self._process is not None
        log = self._process.log.read_text(errors="replace")
        self._sizes, self._slots = parse_sizes(log), parse_slots(log)
        self.devices = (cpu_device(),) if only_on_cpu(log) else ()
        self.version = _server_version(self.base_url) if self.spec.binary else importlib.metadata.version("xllamacpp")

    def readings(self) -> dict[str, Reading]:
        """Weights and KV cache as the server stated them while loading."""
        return dict(self._sizes)

    def observe(self) -> SlotObservation:
        return SlotObservation(self, self._slots)


class AttachedLlamaCppEngine(OpenAIEngine):
    """A llama.cpp server that already runs."""

    name = "llamacpp"
    dialect = DIALECT

    def start(self, progress: Progress) -> None:
        super().start(progress)
        self.version = _server_version(self.base_url)


def parse_sizes(log: str) -> dict[str, Reading]:
    """``memory.weights`` and ``memory.kv_reserved`` in bytes, as far as the log of a loading server states them."""
    weights = dict(_WEIGHTS.findall(log))
    caches = _KV_CACHE.findall(log)
    found = {}
    if weights:
        found["memory.weights"] = _stated(sum(map(float, weights.values())))
    if caches:
        found["memory.kv_reserved"] = _stated(sum(map(float, caches)))
    return found


def parse_slots(log: str) -> Slots | None:
    """The slots of a server, where its log states them and each has a part of the KV cache for itself.

    A model with several caches keeps not every token in each.
    """
    slots, caches = _SLOTS.search(log), _KV_CACHE.findall(log)
    if slots is None or not caches:
        return None
    number, context = map(int, slots.groups())
    if len(caches) > 1:
        return Slots(context, None, "the model has several KV caches, and does not keep every token in each")
    return Slots(context, float(caches[0]) * 2**20 / (number * context))


def only_on_cpu(log: str) -> bool:
    """Whether a loading server put all weights into buffers of the CPU (``CPU_Mapped``, ``CPU_REPACK``)."""
    buffers = [name for name, _ in _WEIGHTS.findall(log)]
    return bool(buffers) and all(name.startswith("CPU") for name in buffers)


def _model_file(model: str) -> Path:
    # Made absolute, since a test may change the folder before the engine is started again.
    return Path(model).expanduser().absolute()


def _stated(mebibytes: float) -> Reading:
    return Reading(mebibytes * 2**20, "stated by llama.cpp while loading", samples=1)


def _server_version(base_url: str) -> str:
    try:
        properties = json.loads(http_get(f"{base_url.removesuffix('/v1')}/props"))
        return str(properties["build_info"])
    except (OSError, ValueError, KeyError, TypeError):
        raise EngineError(f"the server at {base_url} is no llama.cpp server: /props does not answer") from None


def _check_wheel_settings(arguments: Mapping[str, str]) -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        raise EngineError(
            "llamacpp needs llama.cpp: pip install 'pytest-llmperf[llamacpp]', "
            "or --llmperf-engine-bin=/path/to/llama-server"
        )
    for key, value in arguments.items():
        if key not in SETTINGS:
            raise EngineError(f"llamacpp: unknown engine argument {key!r}; it takes {', '.join(SETTINGS)}")
        if not re.fullmatch(r"-?\d+", value):
            raise EngineError(f"llamacpp: engine argument {key}={value!r} is not a whole number")
