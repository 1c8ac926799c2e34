"""pytest on tests given as text, on the double of Ollama."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.lifecycle.http import find_free_port, get_http_status
from tests.helpers.waiting import PATIENCE_S, until
from tests.ollama_double import MODEL, install

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Runs


class OllamaRuns:
    """Called, it runs the plugin on a double that is started for the run. ``is_like`` changes what the double is."""

    def __init__(self, runs: Runs, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._runs = runs
        self._monkeypatch = monkeypatch
        self.models = folder / "models"
        self.binary = install(folder)

    def is_like(self, **settings: object) -> None:
        self._monkeypatch.setenv("LLMPERF_DOUBLE", json.dumps(settings))

    @staticmethod
    def arguments(**arguments: object) -> list[str]:
        return [f"--llmperf-engine-arg=ollama:{key}={value}" for key, value in arguments.items()]

    def __call__(self, source: str, *options: str, model: str | None = MODEL, **arguments: object) -> pytest.RunResult:
        """On the double, with the models of this test and these engine arguments."""
        engine = [f"--llm-engine=ollama{f':{model}' if model else ''}", f"--llmperf-engine-bin=ollama:{self.binary}"]
        return self._runs.plain(source, *engine, *self.arguments(models_dir=self.models, **arguments), *options)


@pytest.fixture
def ollama(runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OllamaRuns:
    return OllamaRuns(runs, monkeypatch, tmp_path / "ollama")


@pytest.fixture
def server(ollama: OllamaRuns) -> Iterator[str]:
    """The address of a double that somebody else has started."""
    host = f"127.0.0.1:{find_free_port()}"
    environ = {**os.environ, "OLLAMA_HOST": host, "OLLAMA_MODELS": str(ollama.models)}
    process = subprocess.Popen([ollama.binary, "serve"], env=environ, stderr=subprocess.DEVNULL)
    until(lambda: process.poll() is not None or get_http_status(f"http://{host}/api/version") == 200)
    assert process.poll() is None
    yield host
    assert process.poll() is None
    process.terminate()
    process.wait(PATIENCE_S)
