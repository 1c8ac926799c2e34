"""A client of Ollama's own API: lists, starts, unloads, pulls and creates models."""

from __future__ import annotations

import http.client
import json
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.system.http.responses import StrictHTTPConnection, StrictHTTPSConnection
from pytest_llmperf.traffic.answers.errors import describe_refusal
from pytest_llmperf.traffic.answers.json_fields import as_dict, as_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_SECONDS = 10.0
# A stream that brings progress, and pauses while a large file is verified.
_QUIET_SECONDS = 300.0


class NotFoundError(EngineError):
    """The server has no such model."""


class OllamaAPI:
    """Asks the server at ``root``, a URL without ``/v1``. Each method raises EngineError if it fails."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._parts = urlsplit(root)

    def version(self) -> str:
        """The version that the server states.

        Raises:
            EngineError: there is no answer, or not that of Ollama.
        """
        try:
            return str(self._ask("GET", "/api/version")["version"])
        except KeyError:
            raise EngineError(f"the server at {self.root} is not an Ollama server: /api/version states none") from None

    def models(self) -> dict[str, str]:
        """The names of the models that it has, each with its digest: copies of a model have the same."""
        found = map(as_dict, as_list(self._ask("GET", "/api/tags").get("models")))
        return {str(model["name"]): str(model.get("digest", "")) for model in found if "name" in model}

    def show(self, model: str) -> dict[str, Any]:
        """What it knows of a model: ``model_info``, ``tensors``, ``modelfile``, ``parameters``, ``capabilities``."""
        return self._ask("POST", "/api/show", {"model": model})

    def list_loaded(self) -> list[dict[str, Any]]:
        """The models that are loaded: ``name``, ``digest``, ``size``, ``size_vram``, ``context_length``."""
        return [as_dict(model) for model in as_list(self._ask("GET", "/api/ps").get("models"))]

    def start_model(self, model: str, options: Mapping[str, Any], keep_alive: float | str, seconds: float) -> None:
        """Returns when the model is loaded, with these options if it was not; it stays so long after each request."""
        body = {"model": model, "options": dict(options), "keep_alive": keep_alive, "stream": False}
        reason = self._ask("POST", "/api/generate", body, seconds).get("done_reason")
        if reason != "load":
            raise EngineError(f"ollama did not load {model}: it answered with done_reason {reason!r}")

    def start_embedder(self, model: str, options: Mapping[str, Any], keep_alive: float | str, seconds: float) -> None:
        """As :meth:`start_model`, for a model that generates no text."""
        body = {"model": model, "options": dict(options), "keep_alive": keep_alive, "input": ""}
        self._ask("POST", "/api/embed", body, seconds)

    def chat(self, body: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """A short answer, not streamed."""
        return self._ask("POST", "/api/chat", {**body, "stream": False}, seconds)

    def generate(self, body: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """A short completion, not streamed."""
        return self._ask("POST", "/api/generate", {**body, "stream": False}, seconds)

    def unload(self, model: str) -> None:
        """Orders the unloading of a model, which is done a moment later."""
        self._ask("POST", "/api/generate", {"model": model, "keep_alive": 0, "stream": False})

    def progress(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The lines of ``/api/pull`` or ``/api/create``, as they come.

        Raises:
            EngineError: one of them is an error: the status was a success by then.
        """
        with self._answer("POST", path, json.dumps(body).encode(), _QUIET_SECONDS) as answer:
            for line in answer:
                if line.strip():
                    content = _object(line)
                    if content.get("error"):
                        raise EngineError(describe_refusal(line.decode(errors="replace")))
                    yield content

    def has_blob(self, digest: str) -> bool:
        try:
            with self._answer("HEAD", f"/api/blobs/{digest}"):
                return True
        except NotFoundError:
            return False

    def send_blob(self, digest: str, file: Path) -> None:
        path, size = f"/api/blobs/{digest}", str(file.stat().st_size)
        with file.open("rb") as content, self._answer("POST", path, content, _QUIET_SECONDS, {"Content-Length": size}):
            pass

    def _ask(self, method: str, path: str, body: object = None, seconds: float = _SECONDS) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        with self._answer(method, path, data, seconds) as answer:
            return _object(answer.read())

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        body: bytes | BinaryIO | None = None,
        seconds: float = _SECONDS,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[http.client.HTTPResponse]:
        """A successful answer. ``seconds`` bounds each single silence of the server."""
        kind = StrictHTTPSConnection if self._parts.scheme == "https" else StrictHTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=seconds)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            if answer.status >= 400:
                words = describe_refusal(answer.read().decode(errors="replace"))
                raise (NotFoundError if answer.status == 404 else EngineError)(f"HTTP {answer.status}: {words}")
            yield answer
        except TimeoutError:
            raise EngineError(f"the server at {self.root} was silent for {seconds:g} s") from None
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
            raise EngineError(f"no answer from {self.root}: {cause}; is the server running?") from None
        finally:
            connection.close()


def _object(data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise EngineError(f"the server sent something that is not a JSON object: {data[:100]!r}")
    return content
