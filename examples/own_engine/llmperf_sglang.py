"""SGLang as an engine of pytest-llmperf: how its server is started, how it is asked, and what it says of itself."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from typing import TYPE_CHECKING

from pytest_llmperf import (
    AttachedDeployment,
    Dialect,
    Engine,
    EngineError,
    EngineParts,
    EngineSpec,
    Insight,
    Reading,
    ServerDeployment,
)
from pytest_llmperf.engines.lifecycle.http import check_port, find_free_port, http_get

if TYPE_CHECKING:
    from pathlib import Path

GIB = 2**30
# Settings of the server unless the project says otherwise. With the radix cache a repeated prompt would be answered
# from it, and its time to first token would say nothing of the engine.
DEFAULTS = {"disable_radix_cache": "true"}
DIALECT = Dialect(full_length={"ignore_eos": True})


class SGLangEngine(Engine):
    """A model behind SGLang's OpenAI API, started here or, with ``--llmperf-url``, already running."""

    name = "sglang"

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        if spec.url:
            AttachedDeployment.check(spec)
            return
        if not spec.model:
            raise EngineError("sglang needs a model: --llmperf-model=ID, a hub id or a folder")
        if spec.binary is None and importlib.util.find_spec("sglang") is None:
            raise EngineError("sglang is not installed: pip install sglang, or --llmperf-engine-bin=/path/to/python")
        check_port(spec.args.get("port", "0"), "port")

    @classmethod
    def compose(cls, spec: EngineSpec) -> EngineParts:
        if spec.url:
            return EngineParts(AttachedDeployment(spec, read_version), DIALECT, Insight())
        server = SGLangServer(spec)
        return EngineParts(server, DIALECT, SGLangInsight(server))


class SGLangServer(ServerDeployment):
    """The command line of the server. Every engine argument is an option of it: ``mem_fraction_static=0.8``."""

    environ_prefixes = ("SGLANG_", "SGL_", "FLASHINFER_")

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self.model = spec.args.get("served_model_name", self.model)
        self._port = 0

    def command(self, folder: Path) -> list[str]:
        self._port = int(self.spec.args.get("port", "0")) or find_free_port()
        settings = {**DEFAULTS, **self.spec.args, "model_path": str(self.spec.model), "port": str(self._port)}
        words = [self.spec.binary or sys.executable, "-m", "sglang.launch_server", "--host=127.0.0.1"]
        for key, value in settings.items():
            flag = f"--{key.replace('_', '-')}"
            if value.lower() == "true":
                words.append(flag)
            elif value.lower() != "false":
                words.append(f"{flag}={value}")
        return words

    def find_url(self, folder: Path) -> str | None:
        return f"http://127.0.0.1:{self._port}/v1"

    def read_version(self) -> str:
        return read_version(self.base_url)


def read_version(base_url: str) -> str:
    """The version that a server states.

    Raises:
        EngineError: it is no SGLang.
    """
    try:
        return str(json.loads(http_get(f"{base_url.removesuffix('/v1')}/get_server_info"))["version"])
    except (OSError, ValueError, KeyError, TypeError):
        raise EngineError(f"the server at {base_url} is no SGLang server: /get_server_info does not answer") from None


class SGLangInsight(Insight):
    """The sizes that a server of ours has written to its log while it started."""

    def __init__(self, server: SGLangServer) -> None:
        self._server = server

    def readings(self) -> dict[str, Reading]:
        """``memory.weights`` and ``memory.kv_reserved``, each of all its workers together."""
        log = self._server.startup_log
        weights = re.findall(r"Load weight end\..* mem usage=([\d.]+) GB", log)
        caches = re.findall(r"K size: ([\d.]+) GB, V size: ([\d.]+) GB", log)
        return {
            "memory.weights": _make_reading([float(size) for size in weights]),
            "memory.kv_reserved": _make_reading([float(keys) + float(values) for keys, values in caches]),
        }


def _make_reading(sizes: list[float]) -> Reading:
    if not sizes:
        return Reading.missing("this SGLang does not state it while it starts")
    return Reading(sum(sizes) * GIB, "stated by SGLang while it started", samples=len(sizes))
