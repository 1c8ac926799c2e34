"""The server behind Ollama engines: an ``ollama serve`` of ours, one for all models of a session; or one that runs."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pytest_llmperf.engines.api.engine import EngineError, EngineSpec
from pytest_llmperf.engines.lifecycle.http import http_status
from pytest_llmperf.engines.lifecycle.server_engine import ServerEngine
from pytest_llmperf.engines.ollama.api import OllamaAPI
from pytest_llmperf.engines.ollama.lookup import find_ollama
from pytest_llmperf.engines.ollama.options import NUM_CTX, SERVER_ARGUMENTS, load_options
from pytest_llmperf.engines.ollama.versions import check_version
from pytest_llmperf.engines.openai.engine import listening_pids

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.api.engine import Engine, Progress

_LISTENING = re.compile(rb'msg="Listening on (127\.0\.0\.1:\d+)')
_FAILED = re.compile(r"^Error: (.*)$", re.MULTILINE)


class OllamaServer(ServerEngine):
    """An ``ollama serve`` of ours. It runs for as long as an engine uses it, and is the same for all that may share it.

    Its models are the user's own, or those in the folder ``models_dir``; everything else that it writes is in a folder
    that goes with it. It is told to look nothing up in the cloud, and to keep no prompts of old.
    """

    name = "ollama"
    _shared: ClassVar[dict[tuple[object, object], OllamaServer]] = {}

    @classmethod
    def of(cls, spec: EngineSpec) -> OllamaServer:
        """The server for an engine: one with the settings that it asks for, or a new one, not yet started.

        An engine that asks for nothing shares whatever runs.
        """
        binary = find_ollama(spec.binary)
        settings = {key: value for key, value in spec.args.items() if key in SERVER_ARGUMENTS}
        program = (binary, spec.visible_devices, spec.keep)
        key: tuple[object, object] = (program, tuple(sorted(settings.items())))
        if not settings:
            key = next((other for other in cls._shared if other[0] == program), key)
        if key not in cls._shared:
            # What requests get that cannot say it, as those of the OpenAI API: with another context they would reload.
            settings[NUM_CTX] = str(load_options(spec.args)[NUM_CTX])
            cls._shared[key] = cls(replace(spec, model=None, args=settings, binary=binary))
        return cls._shared[key]

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self.model = "the server"
        self._users: list[Engine] = []

    @property
    def url(self) -> str:
        return self.base_url.removesuffix("/v1")

    def join(self, engine: Engine, progress: Progress) -> float:
        """Has it run for this engine as well; the seconds that it took to start it, 0 when it ran.

        Raises:
            EngineError: it cannot be started.
        """
        if engine not in self._users:
            self._users.append(engine)
        if not self.gone():
            return 0.0
        self.stop()
        begun = time.monotonic()
        self.start(progress)
        return 0.0 if self.startup_time is None else time.monotonic() - begun

    def part(self, engine: Engine, *, leave: bool = False) -> None:
        """The engine needs it no more. When nobody else does, it is stopped, or left for the next session."""
        if engine in self._users:
            self._users.remove(engine)
        if self._users:
            return
        if leave or self.spec.run:
            self.leave()
        else:
            self.stop()
        for key in [key for key, server in self._shared.items() if server is self]:
            del self._shared[key]

    @property
    def others(self) -> int:
        """How many engines beside one use it."""
        return max(0, len(self._users) - 1)

    @property
    def slots(self) -> int | None:
        """How many requests a model answers at a time, as the server was told; None where that is its own choice."""
        told = self.spec.args.get("num_parallel") or os.environ.get("OLLAMA_NUM_PARALLEL") or "1"
        return int(told) if told.isdecimal() and int(told) else None

    @property
    def cache_types(self) -> tuple[str, str] | None:
        """Of keys and values in the KV cache, as the server was told."""
        told = self.spec.args.get("kv_cache_type") or os.environ.get("OLLAMA_KV_CACHE_TYPE") or "f16"
        return told, told

    # ------------------------------------------------------------------------------------------- the server's process

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        find_ollama(spec.binary)

    def _command(self, directory: Path) -> list[str]:
        assert self.spec.binary is not None
        return [self.spec.binary, "serve"]

    def _environ(self) -> dict[str, str]:
        assert self._directory is not None
        given = super()._environ()
        home = self._directory / "home"
        home.mkdir(exist_ok=True)
        defaults = {
            "OLLAMA_MODELS": str(Path(given.get("HOME", "~")).expanduser() / ".ollama" / "models"),
            "OLLAMA_NO_CLOUD": "1",
            "OLLAMA_KEEP_ALIVE": "-1",
            # As for llama.cpp: 8 GiB of old prompts would make memory drift from test to test.
            "LLAMA_ARG_CACHE_RAM": "0",
            # So that the runner tells what of a prompt came from its cache.
            "LLAMA_ARG_ENDPOINT_METRICS": "1",
        }
        asked = {variable: self.spec.args[key] for key, variable in SERVER_ARGUMENTS.items() if key in self.spec.args}
        asked["OLLAMA_CONTEXT_LENGTH"] = self.spec.args[NUM_CTX]
        if "OLLAMA_MODELS" in asked:
            asked["OLLAMA_MODELS"] = str(Path(asked["OLLAMA_MODELS"]).expanduser().absolute())
        # Any free port: which one stands in its log.
        return defaults | given | asked | {"HOME": str(home), "OLLAMA_HOST": "127.0.0.1:0"}

    def _find_url(self, directory: Path) -> str | None:
        found = _LISTENING.search(self._log_bytes())
        return f"http://{found[1].decode()}/v1" if found else None

    def _health_url(self) -> str:
        return f"{self.url}/api/version"

    def _explain(self) -> str:
        failed = _FAILED.findall(self.log_tail())
        return failed[-1] if failed else ""

    def _on_ready(self) -> None:
        self.version = check_version(OllamaAPI(self.url).version())

    def _why_unfit(self, kept: Mapping[str, object]) -> str:
        if http_status(self._health_url()) != 200:
            return "it no longer answers"
        try:
            self._on_ready()
        except EngineError as error:
            return str(error)
        return ""

    # ------------------------------------------------------------------------------------------------------ its log

    def _log_bytes(self, start: int = 0) -> bytes:
        if self._process is None:
            return b""
        with self._process.log.open("rb") as log:
            log.seek(start)
            return log.read()

    def log_size(self) -> int:
        return self._process.log.stat().st_size if self._process else 0

    def log_since(self, start: int) -> str:
        """What it has written to its log beyond the first ``start`` bytes."""
        return self._log_bytes(start).decode(errors="replace")


class AttachedServer:
    """A server that runs already, whoever has started it. It is never stopped, and its log is not seen."""

    others = 0
    slots: int | None = None
    cache_types: tuple[str, str] | None = None

    def __init__(self, url: str) -> None:
        self.url = url
        self.version = ""
        self.pids: tuple[int, ...] = ()

    def join(self, engine: Engine, progress: Progress) -> float:
        """Looks at it.

        Raises:
            EngineError: nobody answers, or it is no Ollama, or too old.
        """
        self.version = check_version(OllamaAPI(self.url).version())
        self.pids = listening_pids(self.url)
        return 0.0

    def part(self, engine: Engine, *, leave: bool = False) -> None:
        """It was not started here, so it is not stopped here."""

    def gone(self) -> str:
        try:
            OllamaAPI(self.url).version()
        except EngineError as error:
            return str(error)
        return ""

    def log_tail(self) -> str:
        return ""

    def log_size(self) -> int:
        return 0

    def log_since(self, start: int) -> str:
        return ""
