"""A pull as a real server tells of it, and as it is told to the person who waits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.api.model_facts import ModelFacts
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.ollama.models import find_gguf_file, follow_progress, read_model_facts
from tests.helpers.captured import captured
from tests.helpers.ollama_captures import lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Pull:
    """The lines of a captured pull, at their times stretched, with a clock that follows them."""

    def __init__(self, name: str, stretch: float = 1.0) -> None:
        self._lines = [(seconds * stretch, json.loads(text)) for seconds, text in lines(name)]
        self._now = 0.0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for seconds, line in self._lines:
            self._now = seconds
            yield line

    def clock(self) -> float:
        return self._now


def say(pull: Pull) -> list[str]:
    said: list[str] = []
    follow_progress(pull, "pulling m", said.append, pull.clock)
    return said


def test_now_and_then_it_says_how_far_it_is_and_how_fast() -> None:
    said = say(Pull("pull_stream.txt", stretch=40))
    assert said == [
        "pulling m: 20.0 MiB of 93.8 MiB, 2.32 MiB/s",
        "pulling m: 48.0 MiB of 93.8 MiB, 3.13 MiB/s",
        "pulling m: 80.0 MiB of 93.8 MiB, 3.68 MiB/s",
        "pulling m: 92.0 MiB of 93.8 MiB, 3.26 MiB/s",
    ]


def test_what_is_quick_says_nothing() -> None:
    assert say(Pull("pull_stream.txt")) == []
    assert say(Pull("pull_stream_cached.txt")) == []


def test_a_stream_without_success_is_a_failure() -> None:
    with pytest.raises(EngineError, match="it ended with 'pulling manifest' instead of success"):
        follow_progress(iter([{"status": "pulling manifest"}]), "m", lambda _: None)
    with pytest.raises(EngineError, match="it ended with 'nothing' instead of success"):
        follow_progress(iter([]), "m", lambda _: None)


def test_the_lines_of_a_creation_are_read_alike() -> None:
    body = captured("ollama/create_stream.txt").split("\n\n", 1)[1]
    follow_progress([json.loads(line) for line in body.splitlines() if line], "m", lambda _: None)


@pytest.mark.parametrize("name", ["./x.gguf", "/no/such/file", "~/x", "x.gguf"])
def test_what_looks_like_a_file_must_be_one(name: str) -> None:
    with pytest.raises(EngineError, match="there is no model file"):
        find_gguf_file(name)


def test_a_name_is_no_file_and_a_file_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_gguf_file("qwen3:0.6b") is None
    assert find_gguf_file("hf.co/someone/some-GGUF:Q4_K_M") is None
    assert find_gguf_file(None) is None
    (tmp_path / "model").touch()
    assert find_gguf_file("model") == tmp_path / "model"


def test_a_model_is_what_the_server_says_of_it() -> None:
    shown = json.loads(captured("ollama/show.json"))
    pulled = read_model_facts("smollm2:135m-q4", {"smollm2:135m-q4": "fd5f"}, shown, "sha256-941f309b54caaad6")
    assert pulled == ModelFacts("fd5f", "Q4_1")
    assert read_model_facts("gone:latest", {}, {}, "") == ModelFacts()


def test_a_model_that_was_made_of_a_file_is_that_file_whatever_server_describes_it() -> None:
    name, file = "smollm2:941f309b54ca", "941f309b54caaad6747569ba43712bcde44a2be3bae16c3282ff499c37c54af5"
    for listed in ({name: "fd5f"}, {name: "d29a"}):
        assert read_model_facts(name, listed, {}, f"sha256-{file}") == ModelFacts(file)
