"""pytest on tests given as text, on the double of Ollama."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.ollama_double import MODEL, install

if TYPE_CHECKING:
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
