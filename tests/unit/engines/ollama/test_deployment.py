"""Who splits a text into tokens: the model's runner, or where that cannot be asked, the vocabulary of its file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineSpec
from pytest_llmperf.engines.ollama import deployment
from pytest_llmperf.engines.ollama.deployment import OllamaDeployment
from pytest_llmperf.engines.ollama.memory import read_shape
from pytest_llmperf.traffic.client.dialect import Endpoint

if TYPE_CHECKING:
    from pathlib import Path

BLOB = f"sha256-{'a' * 64}"
ENDPOINT = Endpoint("http://127.0.0.1:1/v1", "m")


class Vocabulary:
    """Splits a text by its spaces, and notes by which file."""

    used: list[Path]
    closed: int

    def __init__(self, file: Path) -> None:
        self.used.append(file)

    def list_tokens(self, text: str) -> list[int]:
        return list(range(len(text.split())))

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture(autouse=True)
def vocabulary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Vocabulary]:
    Vocabulary.used, Vocabulary.closed = [], 0
    monkeypatch.setattr(deployment, "FileTokenizer", Vocabulary)
    monkeypatch.setenv("LLMPERF_CACHE", str(tmp_path / "cache"))
    return Vocabulary


def unreachable(self: OllamaDeployment, text: str) -> list[int]:
    raise ConnectionError("the runner cannot be asked from here")


def of_store(folder: Path) -> OllamaDeployment:
    """A model by its name, of a server that keeps its file in this folder."""
    made = OllamaDeployment(EngineSpec("ollama", "m", url="http://127.0.0.1:1"))
    made._shape = read_shape({"modelfile": f"# FROM m\nFROM {folder}/{BLOB}\n"})
    return made


def test_the_runner_is_asked_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / BLOB).write_bytes(b"GGUF")
    monkeypatch.setattr(OllamaDeployment, "_ask_runner", lambda self, text: [7])
    assert of_store(tmp_path).list_tokens(ENDPOINT, "a b") == [7]
    assert Vocabulary.used == []


def test_else_the_file_in_its_store_which_is_opened_once_and_closed_at_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(OllamaDeployment, "_ask_runner", unreachable)
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / BLOB).write_bytes(b"GGUF")
    engine = of_store(folder)
    assert [engine.list_tokens(ENDPOINT, text) for text in ("a b", "c")] == [[0, 1], [0]]
    assert Vocabulary.used == [folder / BLOB]
    engine.stop()
    assert Vocabulary.closed == 1


def test_a_file_that_was_asked_for_is_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(OllamaDeployment, "_ask_runner", unreachable)
    file = tmp_path / "own.gguf"
    file.write_bytes(b"GGUF")
    OllamaDeployment(EngineSpec("ollama", str(file), url="http://127.0.0.1:1")).list_tokens(ENDPOINT, "a")
    assert Vocabulary.used == [file]


def test_without_either_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(OllamaDeployment, "_ask_runner", unreachable)
    with pytest.raises(OSError, match="the runner of m cannot be asked from here, and its file is not on this host"):
        of_store(tmp_path / "gone").list_tokens(ENDPOINT, "a")
