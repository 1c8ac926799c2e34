"""What tells one GGUF file from another: a digest that takes a moment even of a large one, and its quantisation."""

from __future__ import annotations

import hashlib
import re
import struct
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.model_facts import ModelFacts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The settings of a model and the list of its tensors stand at the head, with its tokens, which take a few MiB.
_HEAD = 32 * 2**20
_BLOCK = 2**16
_BLOCKS = 64
_PART = re.compile(r"(.+)-\d{5}-of-(\d{5})\.gguf")
_FILE_TYPE = b"general.file_type"
_UINT32 = 4
# As llama.cpp counts them from 0 and names them; it has given some up.
_NAMES = (
    *("F32", "F16", "Q4_0", "Q4_1", "", "", "", "Q8_0", "Q5_0", "Q5_1"),
    *("Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"),
    *("IQ2_XXS", "IQ2_XS", "Q2_K_S", "IQ3_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ3_M"),
    *("IQ2_S", "IQ2_M", "IQ4_XS", "IQ1_M", "BF16", "", "", "", "TQ1_0", "TQ2_0", "MXFP4_MOE"),
)


def read_model_facts(file: Path) -> ModelFacts:
    """The facts of a model in a GGUF file, or in several of which ``file`` is one.

    The digest is of the size of each file, its first 32 MiB and 64 blocks of 64 KiB spread over the rest, so that a
    start does not read all of a large model. Files up to 36 MiB are read whole. Larger ones of one size that differ
    between these blocks only have one digest; those of another training or quantisation differ everywhere.

    Raises:
        OSError: a file cannot be read.
    """
    digest, quantisation = hashlib.sha256(), ""
    for part in _list_parts(file):
        size = part.stat().st_size
        digest.update(size.to_bytes(8, "little"))
        for number, block in enumerate(_read_blocks(part, size)):
            digest.update(block)
            quantisation = quantisation or ("" if number else find_quantisation(block))
    return ModelFacts(digest.hexdigest(), quantisation)


def find_quantisation(head: bytes) -> str:
    """The name of the file type that the head of a GGUF file states, such as ``Q4_K_M``; empty if it states none."""
    key = struct.pack("<Q", len(_FILE_TYPE)) + _FILE_TYPE + struct.pack("<I", _UINT32)
    at = head.find(key)
    value = head[at + len(key) : at + len(key) + 4]
    if at < 0 or len(value) < 4:
        return ""
    number = int.from_bytes(value, "little")
    name = _NAMES[number] if number < len(_NAMES) else ""
    return name or f"file type {number}"


def _list_parts(file: Path) -> list[Path]:
    found = _PART.fullmatch(file.name)
    if found is None:
        return [file]
    name, count = found[1], int(found[2])
    return [file.with_name(f"{name}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]


def _read_blocks(file: Path, size: int) -> Iterator[bytes]:
    """The head, and blocks at equal distances up to the end."""
    with file.open("rb") as content:
        yield content.read(_HEAD)
        rest = size - _HEAD
        if rest <= _BLOCKS * _BLOCK:
            yield content.read()
            return
        for number in range(_BLOCKS):
            content.seek(_HEAD + (rest - _BLOCK) * number // (_BLOCKS - 1))
            yield content.read(_BLOCK)
