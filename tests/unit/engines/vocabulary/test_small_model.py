"""A small model has the whole vocabulary of another one, its own layers, and nothing else."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.vocabulary.small_model import _read_vocabulary, write_small_model

if TYPE_CHECKING:
    from pathlib import Path


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def field(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def listed(kind: int, *values: bytes) -> bytes:
    return struct.pack("<IQ", kind, len(values)) + b"".join(values)


VOCABULARY = [
    field("tokenizer.ggml.model", 8, text("gpt2")),
    field("tokenizer.ggml.tokens", 9, listed(8, *map(text, ("a", "b", "ab", "<|é|>")))),
    field("tokenizer.ggml.token_type", 9, listed(5, *(struct.pack("<i", 1) for _ in range(4)))),
    field("tokenizer.ggml.merges", 9, listed(8, text("a b"))),
    field("tokenizer.ggml.add_bos_token", 7, b"\1"),
]
OTHERS = [
    field("general.architecture", 8, text("qwen3")),
    field("general.languages", 9, listed(9, listed(8, text("en")), listed(8))),
    field("qwen3.block_count", 4, struct.pack("<I", 28)),
    field("tokenizer.chat_template", 8, text("{{ messages }}")),
]


def gguf(*fields: bytes, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, 0, len(fields)) + b"".join(fields) + b"weights"


@pytest.mark.parametrize("version", [2, 3])
def test_it_has_the_fields_of_the_vocabulary_as_they_are(tmp_path: Path, version: int) -> None:
    source, target = tmp_path / "a.gguf", tmp_path / "b.gguf"
    source.write_bytes(gguf(*OTHERS[:3], *VOCABULARY, OTHERS[3], version=version))
    write_small_model(source, target)
    with target.open("rb") as file:
        assert _read_vocabulary(file) == (VOCABULARY, 4)
    content = target.read_bytes()
    assert b"llama.block_count" in content
    assert b"qwen3" not in content
    # The file ends with the weights of eleven tensors, the first of which has a row of 34 bytes for each token.
    assert content.endswith(bytes(160 + 3 * 128 + 7 * 4096))
    assert len(content) % 32 == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no GGUF file with a vocabulary"),
        (b"PK\3\4 something else", "is no GGUF file with a vocabulary"),
        (gguf(*OTHERS), "is no GGUF file with a vocabulary"),
        (gguf(*VOCABULARY, version=9), "is no GGUF file with a vocabulary"),
        (gguf(*VOCABULARY)[:60], "ends or breaks within its settings"),
        (gguf(field("general.odd", 77, b"")), "ends or breaks within its settings"),
        (gguf(struct.pack("<Q", 2**40)), "ends or breaks within its settings"),
    ],
)
def test_what_is_no_whole_file_with_a_vocabulary_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    source = tmp_path / "a.gguf"
    source.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        write_small_model(source, tmp_path / "b.gguf")
