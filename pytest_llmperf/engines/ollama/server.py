"""The server behind Ollama engines: an ``ollama serve`` of ours for all models, or one that runs already."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import psutil

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.engines.lifecycle.http import get_http_status
from pytest_llmperf.engines.lifecycle.listeners import find_listening_pids
from pytest_llmperf.engines.lifecycle.server_deployment import ServerDeployment
from pytest_llmperf.engines.ollama.api import OllamaAPI
from pytest_llmperf.engines.ollama.lookup import find_ollama
from pytest_llmperf.engines.ollama.options import DEFAULT_CONTEXT, NUM_CTX, SERVER_ARGUMENTS
from pytest_llmperf.engines.ollama.versions import check_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_llmperf.engines.api.spec import EngineSpec, Progress
    from pytest_llmperf.engines.ollama.runner import Loaded

_LISTENING = re.compile(r'msg="Listening on (127\.0\.0\.1:\d+)')
_FAILED = re.compile(r"^Error: (.*)$", re.MULTILINE)


class ModelUser(Protocol):
    """An engine that uses a server for one model.

    ``blob`` is the name of the model's file, "" before that is known; ``wanted`` are the options of its load.
    """

    @property
    def blob(self) -> str: ...

    @property
    def wanted(self) -> Mapping[str, Any]: ...


def find_default_context() -> int:
    """The context of models on a server that is started here: that of the environment, else the same everywhere."""
    told = os.environ.get("OLLAMA_CONTEXT_LENGTH", "")
    return int(told) if told.isdecimal() and int(told) else DEFAULT_CONTEXT


def find_default_context_of(running: Loaded, pids: Iterable[int], trained: int | None) -> int | None:
    """The context of requests that say none, on a server that runs already; None if that cannot be seen.

    Its environment tells. Without a word there, it is known of a server that found no GPU to put ``running`` on.
    """
    for pid in pids:
        try:
            told = psutil.Process(pid).environ().get("OLLAMA_CONTEXT_LENGTH", "")
        except psutil.Error:
            continue
        if told.isdecimal() and int(told):
            return min(int(told), trained or int(told))
        runner = running.runner
        on_cpu = runner is not None and not running.size_vram and "num_gpu" not in runner.load_options
        return min(DEFAULT_CONTEXT, trained or DEFAULT_CONTEXT) if on_cpu else None
    return None


class OllamaServer(ServerDeployment):
    """An ``ollama serve`` of ours. It runs for as long as an engine uses it, and is the same for all that may share it.

    Its models are the user's own, or those in the folder ``models_dir``; everything else that it writes is in a folder
    that is removed with it. It is started without cloud access and without a cache of old prompts.
    """

    environ_prefixes = ("OLLAMA_", "GGML_", "LLAMA_")
    _shared: ClassVar[dict[tuple[object, object, str], OllamaServer]] = {}

    @classmethod
    def of(cls, spec: EngineSpec, apart: Mapping[str, Any] = MappingProxyType({})) -> OllamaServer:
        """The server for an engine: one with the settings that it asks for, or a new one, not yet started.

        An engine that asks for nothing shares whatever runs, one with a label only what others of its label use: two
        variants of one model are two runners. ``apart`` are the options of a load for which the model
        needs a server of its own, since the first one holds it with others.
        """
        binary = find_ollama(spec.binary)
        settings = {key: value for key, value in spec.args.items() if key in SERVER_ARGUMENTS}
        if apart:
            settings["apart"] = ", ".join(f"{option}={value}" for option, value in sorted(apart.items()))
        program = (binary, spec.visible_devices, spec.keep)
        key: tuple[object, object, str] = (program, tuple(sorted(settings.items())), spec.variant)
        running = [other for other in cls._shared if other[0] == program and spec.variant in ("", other[2])]
        if not settings:
            key = next(iter(running), key)
        if key not in cls._shared:
            # What requests get that cannot say it, as those of the OpenAI API.
            settings[NUM_CTX] = spec.args.get(NUM_CTX, str(find_default_context()))
            cls._shared[key] = cls(replace(spec, model=None, args=settings, binary=binary))
        return cls._shared[key]

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self.model = "the server"
        self._users: list[ModelUser] = []

    @property
    def url(self) -> str:
        return self.base_url.removesuffix("/v1")

    def add_user(self, user: ModelUser, progress: Progress) -> float:
        """Adds a user, and starts the server for the first one. Returns the seconds that took, 0 if it ran.

        Raises:
            EngineError: it cannot be started.
        """
        if user not in self._users:
            self._users.append(user)
        if not self.find_end():
            return 0.0
        self.stop()
        begun = time.monotonic()
        self.start(progress)
        return 0.0 if self.startup_time is None else time.monotonic() - begun

    def remove_user(self, user: ModelUser, *, detach: bool = False) -> None:
        """Takes note that the user needs it no more. Without any it is stopped, or with ``detach`` left running."""
        if user in self._users:
            self._users.remove(user)
        if self._users:
            return
        if detach or self.spec.run:
            self.detach()
        else:
            self.stop()
        for key in [key for key, server in self._shared.items() if server is self]:
            del self._shared[key]

    @property
    def users(self) -> tuple[ModelUser, ...]:
        """The engines that use it."""
        return tuple(self._users)

    @property
    def default_context(self) -> int | None:
        """The context of a model that says no other, for requests that do not either."""
        return int(self.spec.args[NUM_CTX])

    def explain_turns(self) -> str:
        """What it means that it was told to hold fewer models at a time than its users have; "" if it was not."""
        most, used = self.spec.args.get("max_loaded_models"), len({user.blob for user in self._users})
        if not most or used <= int(most):
            return ""
        models = f"{most} model{'s' if int(most) > 1 else ''}"
        return (
            f"the server holds {models} at a time (max_loaded_models={most}), and this run uses {used}: "
            "a request to one that is not loaded puts out another and waits"
        )

    @property
    def models_folder(self) -> Path | None:
        """Where its models are."""
        told = self.spec.args.get("models_dir")
        if told:
            return Path(told).expanduser().absolute()
        inherited = os.environ.get("OLLAMA_MODELS")
        return Path(inherited) if inherited else Path(os.environ.get("HOME", "~")).expanduser() / ".ollama" / "models"

    @property
    def slots(self) -> int | None:
        """How many requests a model answers at a time, as the server's settings say; None if it chooses by itself."""
        told = self.spec.args.get("num_parallel") or os.environ.get("OLLAMA_NUM_PARALLEL") or "1"
        return int(told) if told.isdecimal() and int(told) else None

    @property
    def cache_types(self) -> tuple[str, str] | None:
        """The types of keys and values in the KV cache, as the server's settings say."""
        told = self.spec.args.get("kv_cache_type") or os.environ.get("OLLAMA_KV_CACHE_TYPE") or "f16"
        return told, told

    # ------------------------------------------------------------------------------------------- the server's process

    def command(self, folder: Path) -> list[str]:
        assert self.spec.binary is not None
        return [self.spec.binary, "serve"]

    def environ(self, inherited: Mapping[str, str], folder: Path) -> dict[str, str]:
        home = folder / "home"
        home.mkdir(exist_ok=True)
        defaults = {
            "OLLAMA_NO_CLOUD": "1",
            "OLLAMA_KEEP_ALIVE": "-1",
            # As for llama.cpp: 8 GiB of old prompts would make memory drift from test to test.
            "LLAMA_ARG_CACHE_RAM": "0",
            # So that the runner tells what of a prompt came from its cache.
            "LLAMA_ARG_ENDPOINT_METRICS": "1",
        }
        asked = {variable: self.spec.args[key] for key, variable in SERVER_ARGUMENTS.items() if key in self.spec.args}
        asked["OLLAMA_CONTEXT_LENGTH"] = self.spec.args[NUM_CTX]
        asked["OLLAMA_MODELS"] = str(self.models_folder)
        # Any free port; its log names the one it took.
        return {**defaults, **inherited, **asked, "HOME": str(home), "OLLAMA_HOST": "127.0.0.1:0"}

    def find_url(self, folder: Path) -> str | None:
        found = _LISTENING.search(self.read_log())
        return f"http://{found[1]}/v1" if found else None

    def health_url(self) -> str:
        return f"{self.url}/api/version"

    def explain_end(self) -> str:
        failed = _FAILED.findall(self.read_new_log())
        return failed[-1] if failed else ""

    def read_version(self) -> str:
        return check_version(OllamaAPI(self.url).version())

    def explain_unfit(self, kept: Mapping[str, object]) -> str:
        if get_http_status(self.health_url()) != 200:
            return "it no longer answers"
        try:
            self._read_facts()
        except EngineError as error:
            return str(error)
        return ""

    def find_end(self) -> str:
        """Why it can no longer answer; "" while it can."""
        status = self.read_status()
        return status.reason if status.state is EngineState.ENDED else ""


class AttachedOllamaServer:
    """A server that runs already. It is never stopped, and its log is not seen."""

    _all: ClassVar[dict[str, list[ModelUser]]] = {}
    default_context: int | None = None
    models_folder: Path | None = None
    slots: int | None = None
    cache_types: tuple[str, str] | None = None

    def __init__(self, url: str) -> None:
        self.url = url
        self.version = ""
        self.pids: tuple[int, ...] = ()
        self._users = self._all.setdefault(url, [])

    def add_user(self, user: ModelUser, progress: Progress) -> float:
        """Checks that it can be used, and takes note of the user.

        Raises:
            EngineError: it does not answer, or is not Ollama, or too old.
        """
        self._users.append(user)
        self.version = check_version(OllamaAPI(self.url).version())
        self.pids = find_listening_pids(self.url)
        return 0.0

    def remove_user(self, user: ModelUser, *, detach: bool = False) -> None:
        """Takes note that the user needs it no more. It goes on, since it was not started here."""
        if user in self._users:
            self._users.remove(user)

    @property
    def users(self) -> tuple[ModelUser, ...]:
        """The engines of this process that use it."""
        return tuple(self._users)

    def explain_turns(self) -> str:
        return ""

    def find_end(self) -> str:
        try:
            OllamaAPI(self.url).version()
        except EngineError as error:
            return str(error)
        return ""

    def log_tail(self) -> str:
        return ""

    def keep_log(self) -> str:
        return ""

    log_size = 0

    def read_log(self, start: int = 0) -> str:
        return ""
