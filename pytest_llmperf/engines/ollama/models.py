"""Brings a model into the store of an Ollama server: finds it, pulls it, or creates it from a GGUF file."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.model_facts import ModelFacts
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.bundled_model import fetch_bundled_model
from pytest_llmperf.measurement.units import BYTES, format_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from pytest_llmperf.engines.api.spec import Progress
    from pytest_llmperf.engines.ollama.api import OllamaAPI

_PROGRESS_SECONDS = 5.0
_NAMESPACE = "llmperf"
# Characters of a tag.
_LONGEST_PART = 80


def find_gguf_file(model: str | None) -> Path | None:
    """The path of a model that is a file; None for the name of one.

    Raises:
        EngineError: it looks like one, and is not there.
    """
    if model is None:
        return None
    path = Path(model).expanduser().absolute()
    if path.is_file():
        return path
    if model.endswith(".gguf") or model.startswith(("/", "./", "../", "~")):
        raise EngineError(f"ollama: there is no model file {model!r}; --llmperf-model is a name or a path to a GGUF")
    return None


def ensure_model(
    api: OllamaAPI, model: str | None, *, pull: bool, progress: Progress, note_new: Callable[[str], None]
) -> str:
    """The name under which the server has the model, once it does; without one, the bundled model's.

    ``note_new`` is called with the name of a model before it is made of a file.

    Raises:
        EngineError: the server does not have it, and it cannot, or must not, be pulled.
    """
    file = fetch_bundled_model(progress) if model is None else find_gguf_file(model)
    if file is not None:
        return _make_model(api, file, progress, note_new)
    assert model is not None
    name = _find_listed(api, model)
    if name:
        return name
    if not pull:
        raise EngineError(
            f"ollama: the server has no model {model!r}: ollama pull {model} gets it, or --llmperf-pull does"
        )
    _pull(api, model, progress)
    name = _find_listed(api, model)
    if not name:
        raise EngineError(f"ollama pulled {model!r} but does not list it")
    return name


def _find_listed(api: OllamaAPI, model: str) -> str:
    """The full name of a model that the server has; "" if it has none. Without a tag it is the latest."""
    wanted = model if ":" in model.rpartition("/")[2] else f"{model}:latest"
    return next((name for name in api.models() if name.lower() == wanted.lower()), "")


def _pull(api: OllamaAPI, model: str, progress: Progress) -> None:
    progress(f"ollama: pulling {model}")
    try:
        follow_progress(api.progress("/api/pull", {"model": model}), f"ollama: pulling {model}", progress)
    except EngineError as error:
        room = "; models_dir=FOLDER is an engine argument" if "no space left" in str(error) else ""
        raise EngineError(f"ollama cannot pull {model}: {error}{room}") from None


def _make_model(api: OllamaAPI, file: Path, progress: Progress, note_new: Callable[[str], None]) -> str:
    """The model made of a GGUF file. Its name holds the file's digest: another file is another model."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    stem = re.sub(r"[^a-z0-9._-]+", "-", file.stem.lower()).strip("-._") or "model"
    name = f"{stem}:{digest[:12]}"
    if _find_listed(api, name):
        return name
    progress(f"ollama: making the model {name} of {file.name}")
    note_new(name)
    try:
        if not api.has_blob(f"sha256:{digest}"):
            api.send_blob(f"sha256:{digest}", file)
        request = {"model": name, "files": {file.name: f"sha256:{digest}"}}
        follow_progress(api.progress("/api/create", request), f"ollama: making {name}", progress)
    except EngineError as error:
        raise EngineError(f"ollama cannot make a model of {file}: {error}") from None
    return name


def read_model_facts(name: str, listed: Mapping[str, str], shown: Mapping[str, Any], blob: str) -> ModelFacts:
    """The facts of the model ``name``, from the digests of a server's models, what it shows of it, and its file's name.

    The digest is the server's, of the file with its template and parameters; that of a model which this plugin has made
    of a file is the file's, since versions of Ollama describe such a model differently.
    """
    file = blob.removeprefix("sha256-")
    made_of_file = bool(file) and name.endswith(f":{file[:12]}")
    digest = file if made_of_file else listed.get(name, "")
    return ModelFacts(digest, str((shown.get("details") or {}).get("quantization_level", "")))


def name_derived(source: str, token: str) -> str:
    """The name of a model that is derived from another for a while: ``qwen3:0.6b`` → ``llmperf/qwen3:0.6b-TOKEN``."""
    model, _, tag = source.rpartition("/")[2].partition(":")
    return f"{_NAMESPACE}/{model}:{tag[: _LONGEST_PART - len(token) - 1]}-{token}"


def find_manifest(models: Path, derived: str) -> Path:
    """The file by which a store in the folder ``models`` knows a derived model."""
    return models / "manifests" / "registry.ollama.ai" / Path(*re.split("[/:]", derived))


def derive_model(api: OllamaAPI, source: str, derived: str, options: Mapping[str, Any]) -> None:
    """Makes a model of the same file, whose requests have these options without saying so.

    Raises:
        EngineError: the server refuses it.
    """
    request = {"model": derived, "from": source, "parameters": dict(options)}
    try:
        follow_progress(api.progress("/api/create", request), "", lambda _: None)
    except EngineError as error:
        given = ", ".join(f"{key}={value}" for key, value in options.items())
        raise EngineError(f"ollama cannot give {source} {given}: {error}") from None


def follow_progress(
    lines: Iterable[Mapping[str, Any]], title: str, progress: Progress, clock: Callable[[], float] = time.monotonic
) -> None:
    """Reads the lines of a pull to its end, and reports its progress and rate every few seconds.

    Raises:
        EngineError: it did not succeed.
    """
    begun = said = clock()
    sizes: dict[str, tuple[int, int]] = {}
    at_start: dict[str, int] = {}
    status = ""
    for line in lines:
        status = str(line.get("status", ""))
        if "digest" in line:
            layer, done = str(line["digest"]), int(line.get("completed", 0))
            # What an earlier pull has left half done is not counted into the rate.
            at_start.setdefault(layer, done)
            sizes[layer] = (done, int(line.get("total", 0)))
        if clock() - said >= _PROGRESS_SECONDS:
            said = clock()
            fresh = sum(done - at_start[layer] for layer, (done, _) in sizes.items())
            progress(f"{title}: {_format_progress(sizes, fresh / (said - begun))}" if sizes else f"{title}: {status}")
    if status != "success":
        raise EngineError(f"it ended with {status or 'nothing'!r} instead of success")


def _format_progress(sizes: Mapping[str, tuple[int, int]], rate: float) -> str:
    done, total = (sum(parts) for parts in zip(*sizes.values(), strict=True))
    return f"{format_value(done, BYTES)} of {format_value(total, BYTES)}, {format_value(rate, BYTES)}/s"
