"""llama.cpp's server as a process of ours, from the ``xllamacpp`` wheel or any ``llama-server``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.model_facts import ModelFacts
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.bundled_model import NAME, fetch_bundled_model
from pytest_llmperf.engines.lifecycle.http import (
    UNREADABLE_JSON,
    check_port,
    find_free_port,
    http_get,
    http_post,
    read_announced_url,
)
from pytest_llmperf.engines.lifecycle.server_deployment import ServerDeployment
from pytest_llmperf.engines.llamacpp.gguf import read_model_facts
from pytest_llmperf.engines.llamacpp.server_main import POOLINGS, SETTINGS, VERBOSITY, list_adapter_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.api.spec import EngineSpec, Progress

_ANNOUNCE = "announce"
_MAGIC = b"GGUF"
# Its own lines of the level E, what ggml says before it aborts, and what the wheel's server says.
_FAILED = re.compile(r"^(?:[\d.]+ E (.+)|(.*GGML_ASSERT.+)|(llama\.cpp cannot serve .+))$", re.MULTILINE)


class LlamaCppServer(ServerDeployment):
    """Serves a GGUF file; without a model, the bundled SmolLM2-135M-Instruct."""

    environ_prefixes = ("GGML_", "LLAMA_")

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self._file = _model_file(spec.model) if spec.model else None
        self.model = self._file.stem if self._file else NAME

    @staticmethod
    def check(spec: EngineSpec) -> None:
        """Refuses settings that the server would not start with.

        Raises:
            EngineError: naming the option and what would be right.
        """
        if spec.model:
            _check_model_file(spec.model)
        if spec.binary:
            if shutil.which(spec.binary) is None:
                raise EngineError(f"llamacpp: {spec.binary!r} cannot be run; --llmperf-engine-bin is a llama-server")
        else:
            _check_wheel_settings(spec.args)
        check_port(spec.args.get("port", "0"), "port")

    def prepare(self, progress: Progress) -> None:
        if self._file is None:
            self._file = fetch_bundled_model(progress)

    def describe_program(self) -> str:
        return super().describe_program() or f"xllamacpp {importlib.metadata.version('xllamacpp')}"

    def environ(self, inherited: Mapping[str, str], folder: Path) -> dict[str, str]:
        # libgomp's default spinning makes the server crawl as soon as anything else wants the cores.
        return {"GOMP_SPINCOUNT": "1000", **inherited}

    def command(self, folder: Path) -> list[str]:
        assert self._file is not None
        if self.spec.binary:
            return self._binary_command(self.spec.binary, folder)
        settings = {**self.spec.args, "model": str(self._file), "alias": self.model}
        module = "pytest_llmperf.engines.llamacpp.server_main"
        return [sys.executable, "-P", "-m", module, str(folder / _ANNOUNCE), json.dumps(settings)]

    def _binary_command(self, binary: str, folder: Path) -> list[str]:
        defaults = {key: SETTINGS[key].default for key in ("ctx_size", "parallel", "threads", "cache_ram")}
        # Slots are saved by nobody, but only a server with a place for that erases one.
        saves = folder / "slots"
        saves.mkdir()
        settings = {**defaults, "verbosity": VERBOSITY, "slot_save_path": str(saves), **self.spec.args}
        if settings.get("pooling", "none") != "none":
            settings.setdefault("embeddings", "")  # without it the server embeds nothing
        port = settings.pop("port", "0")
        port = str(find_free_port()) if port == "0" else port
        (folder / _ANNOUNCE).write_text(f"http://127.0.0.1:{port}", encoding="utf-8")
        command = [binary, "--model", str(self._file), "--alias", self.model, "--host", "127.0.0.1", "--port", port]
        for key, value in settings.items():
            command += [f"--{key.replace('_', '-')}", *([value] if value else [])]
        return [*command, "--metrics", "--slots"]

    def empty_prompt_cache(self) -> None:
        """Erases every slot; prompts in host memory (``cache_ram``) cannot be erased from outside."""
        if self.spec.args.get("cache_ram", "0") != "0":
            raise EngineError("llamacpp keeps old prompts in host memory (cache_ram)")
        erase_slots(self.base_url)

    def find_url(self, folder: Path) -> str | None:
        return read_announced_url(folder / _ANNOUNCE)

    def explain_end(self) -> str:
        found = list(_FAILED.finditer(self.read_new_log()))
        return " ".join((found[-1][found[-1].lastindex or 0]).split()) if found else ""

    def read_version(self) -> str:
        return read_version(self.base_url) if self.spec.binary else importlib.metadata.version("xllamacpp")

    def read_model_facts(self) -> ModelFacts:
        return read_model_facts(self._file) if self._file is not None else ModelFacts()


def read_stated_facts(base_url: str) -> ModelFacts:
    """What a server states of its model; it has no digest of it.

    Raises:
        OSError, ValueError: it does not answer as llama.cpp's server does.
    """
    properties = json.loads(http_get(f"{base_url.removesuffix('/v1')}/props"))
    return ModelFacts(quantisation=str(properties.get("model_ftype", "")))


def read_version(base_url: str) -> str:
    """The build that a server states.

    Raises:
        EngineError: it is not a llama.cpp server.
    """
    try:
        properties = json.loads(http_get(f"{base_url.removesuffix('/v1')}/props"))
        return str(properties["build_info"])
    except (OSError, *UNREADABLE_JSON):
        raise EngineError(f"the server at {base_url} is not a llama.cpp server: /props does not answer") from None


def erase_slots(base_url: str) -> None:
    """Forgets the prompts in the slots of a server that was started with a ``slot-save-path``.

    Raises:
        EngineError: it does not.
    """
    root = base_url.removesuffix("/v1")
    try:
        for slot in json.loads(http_get(f"{root}/slots")):
            http_post(f"{root}/slots/{int(slot['id'])}?action=erase")
    except (OSError, *UNREADABLE_JSON) as error:
        raise EngineError(f"llamacpp did not erase its slots: {error}") from None


def _model_file(model: str) -> Path:
    # Made absolute, since a test may change the folder before the engine is started again.
    return Path(model).expanduser().absolute()


def _check_model_file(model: str) -> None:
    path = _model_file(model)
    if path.is_dir():
        found = ", ".join(sorted(file.name for file in path.glob("*.gguf"))[:5])
        raise EngineError(
            f"llamacpp: {model!r} is a folder; --llmperf-model is a GGUF{f' in it: {found}' if found else ''}"
        )
    if not path.is_file():
        raise EngineError(f"llamacpp: there is no model file {model!r}; --llmperf-model is a path to a GGUF")
    _check_gguf(path, model)


def _check_adapter_files(value: str) -> None:
    for text in list_adapter_files(value):
        if not Path(text).is_file():
            raise EngineError(f"llamacpp: there is no adapter file {text!r}; lora= takes paths of GGUF files")
        _check_gguf(Path(text), text)


def _check_gguf(path: Path, written: str) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise EngineError(f"llamacpp: the file {written!r} cannot be read: {error.strerror}") from None
    if magic != _MAGIC:
        raise EngineError(f"llamacpp: {written!r} is not a GGUF file: it does not begin with the letters GGUF")


def _check_wheel_settings(arguments: Mapping[str, str]) -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        raise EngineError(
            "llamacpp needs llama.cpp: pip install 'pytest-llmperf[llamacpp]', "
            "or --llmperf-engine-bin=/path/to/llama-server"
        )
    for key, value in arguments.items():
        if key not in SETTINGS:
            raise EngineError(f"llamacpp: unknown engine argument {key!r}; it takes {', '.join(SETTINGS)}")
        if key == "pooling":
            if value not in (*POOLINGS, "none"):
                raise EngineError(f"llamacpp: engine argument pooling={value!r} is none of {', '.join(POOLINGS)}, none")
        elif key == "lora":
            _check_adapter_files(value)
        elif not re.fullmatch(r"-?\d+", value):
            raise EngineError(f"llamacpp: engine argument {key}={value!r} is not a whole number")
