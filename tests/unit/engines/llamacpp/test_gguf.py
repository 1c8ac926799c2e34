"""What tells one GGUF file from another."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.llamacpp import gguf
from pytest_llmperf.engines.llamacpp.gguf import find_quantisation, read_model_facts

if TYPE_CHECKING:
    from pathlib import Path


def head(file_type: int) -> bytes:
    key = b"general.file_type"
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, file_type)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (head(3), "Q4_1"),
        (b"tokens" * 1000 + head(15), "Q4_K_M"),
        (head(32), "BF16"),
        (head(38), "MXFP4_MOE"),
        (head(5), "file type 5"),
        (head(999), "file type 999"),
        (head(3)[:-1], ""),
        (b"GGUF", ""),
        (b"", ""),
    ],
)
def test_the_quantisation_is_what_the_file_says(content: bytes, name: str) -> None:
    assert find_quantisation(content) == name


def test_a_digest_is_of_the_content_and_not_of_the_name(tmp_path: Path) -> None:
    for name, content in {"a.gguf": head(3), "b.gguf": head(3), "c.gguf": head(2)}.items():
        (tmp_path / name).write_bytes(content)
    a, b, c = (read_model_facts(tmp_path / f"{name}.gguf") for name in "abc")
    assert a == b
    assert a.digest != c.digest
    assert (a.quantisation, c.quantisation) == ("Q4_1", "Q4_0")


@pytest.mark.parametrize("at", [0, 150, 350, -1])
def test_a_large_file_is_sampled_from_its_head_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    for name, value in {"_HEAD": 200, "_BLOCK": 10, "_BLOCKS": 3}.items():
        monkeypatch.setattr(gguf, name, value)
    content = bytearray(bytes(500))
    (tmp_path / "a.gguf").write_bytes(content)
    content[at] = 1
    (tmp_path / "b.gguf").write_bytes(content)
    (tmp_path / "longer.gguf").write_bytes(bytes(501))
    digests = {read_model_facts(tmp_path / f"{name}.gguf").digest for name in ("a", "b", "longer")}
    assert len(digests) == 3


def test_all_parts_of_a_model_count(tmp_path: Path) -> None:
    for number, content in enumerate((head(15), b"GGUF weights"), 1):
        (tmp_path / f"m-{number:05}-of-00002.gguf").write_bytes(content)
    first = tmp_path / "m-00001-of-00002.gguf"
    before = read_model_facts(first)
    assert before.quantisation == "Q4_K_M"
    (tmp_path / "m-00002-of-00002.gguf").write_bytes(b"GGUF Weights")
    assert read_model_facts(first).digest != before.digest
    (tmp_path / "m-00002-of-00002.gguf").unlink()
    with pytest.raises(FileNotFoundError):
        read_model_facts(first)
