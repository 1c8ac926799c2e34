"""Why a file's vocabulary cannot be asked is said in one line, and no process is left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.vocabulary import file_tokenizer
from pytest_llmperf.engines.vocabulary.file_tokenizer import FileTokenizer
from tests.unit.engines.vocabulary.test_small_model import VOCABULARY, gguf

if TYPE_CHECKING:
    from pathlib import Path


def test_without_xllamacpp_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OSError, match=r"model\.gguf is at hand, .* pip install 'pytest-llmperf\[llamacpp\]'"):
        FileTokenizer(tmp_path / "model.gguf").list_tokens("a")


def test_a_file_that_is_not_there_or_no_model_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(OSError, match="No such file"):
        FileTokenizer(tmp_path / "gone.gguf").list_tokens("a")
    (tmp_path / "no.gguf").write_text("text", encoding="utf-8")
    with pytest.raises(OSError, match="is no GGUF file with a vocabulary"):
        FileTokenizer(tmp_path / "no.gguf").list_tokens("a")


def test_a_process_that_ends_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(file_tokenizer, "_CHILD_MODULE", "pytest_llmperf.no_such_module")
    (tmp_path / "model.gguf").write_bytes(gguf(*VOCABULARY))
    tokenizer = FileTokenizer(tmp_path / "model.gguf")
    with pytest.raises(OSError, match=r"cannot read the vocabulary of model\.gguf: exit status 1: .*No module named"):
        tokenizer.list_tokens("a")
    tokenizer.close()
