"""How a model comes into the store of the server: pulled, made of a file, and there the next time."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.ollama.conftest import OllamaRuns

SUITE = """
def test_one(llm_client, llm_engine):
    assert llm_client.generate("Hello", max_tokens=2).text
    with open("model", "w") as file:
        file.write(llm_client.model)
    with open("digest", "w") as file:
        file.write(llm_engine.info.digest)
"""


def test_a_missing_model_is_pulled_once(ollama: OllamaRuns, pytester: pytest.Pytester) -> None:
    result = ollama(SUITE, model="hub:1b")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["llmperf: ollama: pulling hub:1b", "llmperf: ollama: hub:1b loaded at *"])
    digest = (pytester.path / "digest").read_text(encoding="utf-8")
    assert len(digest) == 64
    again = ollama(SUITE, model="hub:1b", num_batch=256)
    again.stdout.no_fnmatch_line("*pulling*")
    assert (pytester.path / "model").read_text(encoding="utf-8") != "hub:1b", "a derived model has the options"
    assert (pytester.path / "digest").read_text(encoding="utf-8") == digest, "and counts as the one it is derived of"


def test_a_file_becomes_a_model_that_is_known_by_its_digest(
    ollama: OllamaRuns, tmp_path: Path, pytester: pytest.Pytester
) -> None:
    file = tmp_path / "My Model.gguf"
    file.write_bytes(b"GGUF and more")
    result = ollama(SUITE, model=str(file))
    result.assert_outcomes(passed=1)
    name = (pytester.path / "model").read_text(encoding="utf-8")
    assert name == "my-model:144581c14596"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (pytester.path / "digest").read_text(encoding="utf-8") == digest
    result.stdout.fnmatch_lines([f"llmperf: ollama: making the model {name} of My Model.gguf"])
    ollama(SUITE, model=str(file)).stdout.no_fnmatch_line("*making*")


def test_without_a_name_it_is_the_bundled_model(
    ollama: OllamaRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMPERF_CACHE", str(tmp_path))
    bundled = tmp_path / "pytest-llmperf" / "SmolLM2-135M-Instruct-Q4_1.gguf"
    bundled.parent.mkdir()
    bundled.write_bytes(b"GGUF")
    result = ollama(SUITE, model=None)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["llmperf: ollama: making the model smollm2-135m-instruct-q4_1:* of *"])


def test_a_file_that_is_no_model_fails_in_the_servers_own_words(ollama: OllamaRuns, tmp_path: Path) -> None:
    file = tmp_path / "garbage.gguf"
    file.write_bytes(b"garbage")
    result = ollama(SUITE, model=str(file))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["ollama cannot make a model of *garbage.gguf: invalid file magic"])


def test_a_file_that_is_not_there_is_refused_before_anything_is_started(ollama: OllamaRuns) -> None:
    result = ollama(SUITE, model="./missing.gguf")
    result.stderr.fnmatch_lines(["ERROR: llmperf: ollama: there is no model file './missing.gguf'; *"])


def test_a_server_that_was_kept_is_found_again_with_its_model(ollama: OllamaRuns) -> None:
    keep = "--llmperf-keep-engine=600"
    suite = "def test_one(llm_engine): assert llm_engine.startup_time {} None"
    try:
        first = ollama(suite.format("is not"), keep)
        first.assert_outcomes(passed=1)
        second = ollama(suite.format("is"), keep)
        second.assert_outcomes(passed=1)
        second.stdout.fnmatch_lines(["llmperf: ollama: the server found running, kept from an earlier run"])
        second.stdout.no_fnmatch_line("*loading*")
    finally:
        _end_kept()


def _end_kept() -> None:
    from pytest_llmperf.engines.lifecycle.kept_list import list_kept_engines

    for engine in list_kept_engines(lambda _: None):
        if engine.engine == "ollama":
            assert engine.stop() == ""
