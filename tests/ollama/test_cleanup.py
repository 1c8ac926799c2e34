"""What tests have loaded and made on a server is undone by the last of its users, and who cannot do it says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.ollama.api import OllamaAPI
from pytest_llmperf.engines.ollama.cleanup.process import Cleanup
from pytest_llmperf.engines.ollama.models import derive_model, find_manifest
from tests.helpers.engine_processes import own_tmp
from tests.helpers.waiting import PATIENCE_S, until
from tests.ollama_double import MODEL

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


@pytest.fixture
def refusing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
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
