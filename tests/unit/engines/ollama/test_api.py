"""Ollama's API as the engine asks it, against a server that answers by a script."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.ollama.api import NotFoundError, OllamaAPI
from tests.helpers.captured import captured
from tests.helpers.metrics_server import MetricsServer, serving
from tests.helpers.ollama_captures import lines
from tests.helpers.scripted_server import STREAM_END, STREAM_HEAD, ScriptedServer, chunk, refused_url, sized

if TYPE_CHECKING:
    from collections.abc import Callable


def served(page: str, ask: Callable[[OllamaAPI], object], status: int = 200) -> object:
    with serving(lambda: page) as server:
        assert isinstance(server, MetricsServer)
        server.status = status
        return ask(OllamaAPI(server.url))


def test_the_pages_of_a_real_server_are_understood() -> None:
    assert served('{"version":"0.32.15"}', OllamaAPI.version) == "0.32.15"
    tags = captured("ollama/tags.txt").split("\n\n", 1)[1]
    models = served(tags, OllamaAPI.models)
    assert isinstance(models, dict)
    assert [(name, digest[:4]) for name, digest in models.items()] == [
        ("smollm2:135m-q4", "fd5f"),
        ("smollm2-ctx:latest", "d29a"),
    ]
    assert served('{"models":[]}', OllamaAPI.list_loaded) == []
    loaded = served(captured("ollama/ps_loaded.json"), OllamaAPI.list_loaded)
    assert isinstance(loaded, list)
    assert loaded[0]["size"] == 160222411


def test_a_server_that_is_no_ollama_is_named() -> None:
    with pytest.raises(EngineError, match="is not an Ollama server: /api/version states none"):
        served("{}", OllamaAPI.version)
    with pytest.raises(EngineError, match="the server sent something that is not a JSON object: b'<html>'"):
        served("<html>", OllamaAPI.version)


def test_a_refusal_is_told_in_the_servers_own_words() -> None:
    with pytest.raises(EngineError, match="HTTP 500: model requires more system memory") as caught:
        served('{"error":"model requires more system memory"}', OllamaAPI.models, status=500)
    assert not isinstance(caught.value, NotFoundError)
    with pytest.raises(NotFoundError, match="HTTP 404: model 'nope' not found"):
        served('{"error":"model \'nope\' not found"}', OllamaAPI.models, status=404)


def test_nobody_answering_is_one_line() -> None:
    root = refused_url().removesuffix("/v1")
    with pytest.raises(EngineError) as caught:
        OllamaAPI(root).version()
    assert str(caught.value) == f"no answer from {root}: Connection refused; is the server running?"


def pulled(name: str) -> list[dict[str, object]]:
    body = b"".join(chunk(f"{text}\n".encode()) for _, text in lines(name))
    with ScriptedServer([[STREAM_HEAD, body, STREAM_END]]) as server:
        found = list(OllamaAPI(server.url.removesuffix("/v1")).progress("/api/pull", {"model": "m"}))
        assert server.requests[0].body == {"model": "m"}
        return found


def test_the_lines_of_a_pull_come_one_by_one() -> None:
    assert pulled("pull_stream.txt")[-1] == {"status": "success"}


def test_an_error_in_a_stream_that_began_well_is_an_error() -> None:
    with pytest.raises(EngineError, match=r"^pull model manifest: file does not exist$"):
        pulled("pull_missing.txt")


def test_a_model_counts_as_loaded_only_when_the_server_says_so() -> None:
    answer = {"model": "m", "response": "", "done": True}
    with ScriptedServer([[sized({**answer, "done_reason": "load"})]]) as server:
        OllamaAPI(server.url.removesuffix("/v1")).start_model("m", {"num_ctx": 512}, "10m", 5)
        assert server.requests[0].body == {
            "model": "m",
            "options": {"num_ctx": 512},
            "keep_alive": "10m",
            "stream": False,
        }
    with (
        ScriptedServer([[sized({**answer, "done_reason": "unload"})]]) as server,
        pytest.raises(EngineError, match="ollama did not load m: it answered with done_reason 'unload'"),
    ):
        OllamaAPI(server.url.removesuffix("/v1")).start_model("m", {}, -1, 5)
