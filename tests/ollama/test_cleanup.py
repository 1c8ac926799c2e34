"""What tests have loaded and made on a server is undone by the last of its users, and who cannot do it says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.lifecycle.listeners import find_listening_pids
from pytest_llmperf.engines.ollama.api import OllamaAPI
from pytest_llmperf.engines.ollama.cleanup.found import FoundModel
from pytest_llmperf.engines.ollama.cleanup.process import Cleanup
from pytest_llmperf.engines.ollama.models import derive_model, find_manifest
from pytest_llmperf.engines.ollama.runner import find_runner, list_runners
from tests.helpers.engine_processes import own_tmp
from tests.helpers.waiting import PATIENCE_S, until
from tests.ollama_double import MODEL
from tests.ollama_double.store import EMBEDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.ollama.conftest import OllamaRuns

__all__ = ["own_tmp"]
pytestmark = pytest.mark.usefixtures("own_tmp")


@pytest.fixture
def api(server: str) -> OllamaAPI:
    return OllamaAPI(f"http://{server}")


def lists(own_tmp: Path) -> list[Path]:
    return list((own_tmp / f"pytest-llmperf-{os.getuid()}").iterdir())


def test_the_last_user_cleans_up(api: OllamaAPI, own_tmp: Path) -> None:
    first, second = Cleanup(api.root), Cleanup(api.root)
    before = api.models()
    first.note_load(MODEL, 600)
    api.start_model(MODEL, {}, 600, PATIENCE_S)
    first.note_new("llmperf/x:1")
    derive_model(api, MODEL, "llmperf/x:1", {"num_ctx": 512})
    assert second.loads == {MODEL}
    assert first.finish() == ""
    assert len(api.list_loaded()) == 1
    assert second.finish() == ""
    assert api.list_loaded() == []
    assert api.models() == before
    assert lists(own_tmp) == []


def test_a_list_of_users_that_were_killed_is_not_believed(api: OllamaAPI, own_tmp: Path) -> None:
    user = Cleanup(api.root)
    (path,) = lists(own_tmp)
    user.finish()
    path.write_text('{"unload": "' + MODEL + '", "seconds": null}\n', encoding="utf-8")
    api.start_model(MODEL, {}, 600, PATIENCE_S)
    user = Cleanup(api.root)
    assert user.loads == set()
    user.finish()
    assert len(api.list_loaded()) == 1


def test_what_was_noted_and_never_came_about_is_no_failure(api: OllamaAPI) -> None:
    user = Cleanup(api.root)
    user.note_load("never:loaded", None)
    user.note_new("never:made")
    assert user.finish() == ""


def test_a_server_that_has_ended_has_the_file_of_a_model_removed(ollama: OllamaRuns, own_tmp: Path) -> None:
    manifest = find_manifest(ollama.models, "llmperf/x:1")
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}", encoding="utf-8")
    user = Cleanup("http://127.0.0.1:1")
    user.note_load(MODEL, None)
    user.note_new("llmperf/x:1", str(manifest))
    assert user.finish() == ""
    assert not manifest.exists()


def find(api: OllamaAPI) -> FoundModel:
    (entry,) = api.list_loaded()
    runner = find_runner("", list_runners(find_listening_pids(api.root)))
    assert runner is not None
    found = FoundModel.of(entry, runner.load_options, runner.pid)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("keep_alive", "options", "change"),
    [
        (-1, {"num_ctx": 2048, "num_thread": 1, "num_batch": 64}, {}),
        (600, {"num_ctx": 2048}, {}),
        (-1, {"num_thread": 1}, {"keep_alive": "5m", "options": {"num_thread": 1}}),
        (-1, {"num_thread": 1}, {"keep_alive": -1, "options": {"num_thread": 2}}),
        (600, {"num_ctx": 2048}, {"keep_alive": 0}),
    ],
)
def test_what_was_found_is_given_back_as_it_was(
    api: OllamaAPI, keep_alive: int, options: dict[str, int], change: dict[str, object]
) -> None:
    api.start_model(MODEL, options, keep_alive, PATIENCE_S)
    before = find(api)
    user = Cleanup(api.root)
    user.note_found([before])
    api.generate({"model": MODEL, "prompt": "Hi", **change}, PATIENCE_S)
    assert user.finish() == ""
    assert user.restored == [
        f"{MODEL} is loaded at {api.root} again as it was found, with a context of {before.context} tokens"
    ]
    after = find(api)
    assert (after.context, after.options) == (before.context, before.options)
    assert abs(after.seconds - before.seconds) < PATIENCE_S


def test_what_is_as_it_was_found_is_left_alone(api: OllamaAPI) -> None:
    api.start_model(MODEL, {"num_ctx": 2048}, 600, PATIENCE_S)
    before, user = find(api), Cleanup(api.root)
    user.note_found([before])
    user.note_found([before], evicted=True)
    api.generate({"model": MODEL, "prompt": "Hi", "options": {"num_ctx": 2048}}, PATIENCE_S)
    assert (user.finish(), user.restored) == ("", [])
    assert find(api).pid == before.pid


@pytest.mark.parametrize("stayed", [False, True])
def test_what_was_put_out_is_loaded_again_and_what_its_owner_has_unloaded_is_not(api: OllamaAPI, stayed: bool) -> None:
    api.start_model("qwen:tiny", {"num_ctx": 2048}, -1, PATIENCE_S)
    user = Cleanup(api.root)
    user.note_found([find(api)], evicted=True)
    if stayed:
        user.note_stayed(["qwen:tiny"])
    api.unload("qwen:tiny")
    until(lambda: api.list_loaded() == [])
    assert user.finish() == ""
    assert [entry["context_length"] for entry in api.list_loaded()] == ([] if stayed else [2048])


def test_a_model_for_embeddings_that_was_put_out_is_loaded_again(api: OllamaAPI) -> None:
    user = Cleanup(api.root)
    user.note_found([FoundModel(EMBEDS, 512, {}, datetime.now(UTC) + timedelta(days=1), None)], evicted=True)
    assert user.finish() == ""
    assert [(entry["name"], entry["context_length"]) for entry in api.list_loaded()] == [(EMBEDS, 512)]


def test_what_would_be_gone_by_now_is_not_loaded_again(api: OllamaAPI) -> None:
    user = Cleanup(api.root)
    user.note_found([FoundModel(MODEL, 4096, {}, datetime.now(UTC) - timedelta(seconds=1), None)], evicted=True)
    assert (user.finish(), user.restored) == ("", [])
    assert api.list_loaded() == []


def test_a_model_that_cannot_be_loaded_again_is_named(api: OllamaAPI) -> None:
    user = Cleanup(api.root)
    user.note_found([FoundModel("gone:1", 4096, {}, datetime.now(UTC) + timedelta(days=1), None)])
    what = "loading gone:1 again with a context of 4096 tokens, as it was found"
    assert user.finish().startswith(f"exit status 1: HTTP 404 for {what}: ")
    assert user.restored == []


@pytest.mark.parametrize("until", [None, "", "soon", "2020-01-01T00:00:00Z"])
def test_a_model_that_does_not_say_how_long_it_stays_is_not_noted(until: str | None) -> None:
    assert FoundModel.of({"name": MODEL, "context_length": 4096, "expires_at": until}) is None


class Refusing(BaseHTTPRequestHandler):
    """A server that has the model loaded and does nothing that it is asked for."""

    def do_GET(self) -> None:
        self._answer(200, {"version": "1", "models": [{"name": MODEL, "expires_at": "2026-01-01T00:00:00Z"}]})

    def do_POST(self) -> None:
        self._answer(500, {"error": "no"})

    def _answer(self, status: int, content: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: object) -> None:
        """Nothing is to be logged."""


class SpeakingAnotherProtocol(Refusing):
    """Answers as a server does that speaks no HTTP."""

    def _answer(self, status: int, content: object) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH\r\n")


@pytest.fixture
def refusing(request: pytest.FixtureRequest) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), getattr(request, "param", Refusing))
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(PATIENCE_S)
    server.server_close()


def test_a_failure_is_told_in_one_line(refusing: str, own_tmp: Path) -> None:
    user = Cleanup(refusing)
    user.note_load(MODEL, None)
    failure = user.finish()
    assert failure.startswith("exit status 1: HTTP 500 for {'unload': 'smollm2:135m-q4', 'seconds': None}: ")
    assert "\n" not in failure
    assert lists(own_tmp) == []


@pytest.mark.parametrize("refusing", [SpeakingAnotherProtocol], indirect=True)
def test_what_speaks_no_http_is_no_server_that_runs(refusing: str, own_tmp: Path) -> None:
    user = Cleanup(refusing)
    user.note_load(MODEL, None)
    user.note_load("another", None)
    assert user.finish() == ""
    assert lists(own_tmp) == []


def test_a_removed_list_is_still_worked_on(api: OllamaAPI, own_tmp: Path) -> None:
    user = Cleanup(api.root)
    (path,) = lists(own_tmp)
    path.unlink()
    user.note_load(MODEL, 600)
    api.start_model(MODEL, {}, 600, PATIENCE_S)
    assert user.finish() == ""
    assert api.list_loaded() == []


def test_it_works_when_its_process_was_killed(api: OllamaAPI, own_tmp: Path) -> None:
    script = f"""
import os, signal
from pytest_llmperf.engines.ollama.cleanup.process import Cleanup
user = Cleanup({api.root!r})
user.note_load({MODEL!r}, 600)
from pytest_llmperf.engines.ollama.api import OllamaAPI
OllamaAPI({api.root!r}).start_model({MODEL!r}, {{}}, 600, 60)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], check=False, timeout=PATIENCE_S)
    until(lambda: api.list_loaded() == [] and lists(own_tmp) == [])
