"""Writes a model of a few MB that has the vocabulary of another one, and weights of 0: llama.cpp splits texts by it.

Source of the layout: the GGUF specification of ggml, versions 2 and 3.
"""

from __future__ import annotations

import math
import os
import struct
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = b"GGUF"
_UINT32, _FLOAT32, _TEXT, _LIST = 4, 6, 8, 9
_LENGTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_VOCABULARY, _TOKENS, _TEMPLATE = "tokenizer.", "tokenizer.ggml.tokens", "tokenizer.chat_template"
_LONGEST_NAME = 2**16
_ALIGNMENT = 32
_WIDTH = 32
# The number of each format of a tensor, the values of a block, and its bytes.
_F32, _Q8_0 = (0, 1, 4), (8, 32, 34)
_SETTINGS = {
    "context_length": 256,
    "embedding_length": _WIDTH,
    "block_count": 1,
    "feed_forward_length": _WIDTH,
    "attention.head_count": 1,
    "attention.head_count_kv": 1,
    "rope.dimension_count": _WIDTH,
}
_VECTORS = ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm")
_MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def write_small_model(source: Path, target: Path) -> None:
    """Writes a model of one layer that splits texts into tokens as the one in ``source`` does.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: ``source`` is no GGUF file with a vocabulary.
    """
    with source.open("rb") as file:
        try:
            fields, tokens = _read_vocabulary(file)
        except (struct.error, KeyError, UnicodeDecodeError):
            raise ValueError(f"{source} ends or breaks within its settings") from None
    if not tokens:
        raise ValueError(f"{source} is no GGUF file with a vocabulary")
    own = [_name("general.architecture") + struct.pack("<I", _TEXT) + _name("llama")]
    own += [_name(f"llama.{key}") + struct.pack("<II", _UINT32, value) for key, value in _SETTINGS.items()]
    own.append(_name("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", _FLOAT32, 1e-5))
    entries, size = _list_tensors(tokens)
    head = _MAGIC + struct.pack("<IQQ", 3, len(entries), len(own) + len(fields)) + b"".join([*own, *fields, *entries])
    head += bytes(-len(head) % _ALIGNMENT)
    with target.open("wb") as out:
        out.write(head)
        out.truncate(len(head) + size)  # the weights are 0


def _read_vocabulary(file: BinaryIO) -> tuple[list[bytes], int]:
    """The fields of a vocabulary as they stand in the file, and the number of its tokens; 0 if it is no GGUF file."""
    if file.read(len(_MAGIC)) != _MAGIC:
        return [], 0
    version, _, count = struct.unpack("<IQQ", file.read(20))
    if version not in (2, 3):
        return [], 0
    found, tokens = [], 0
    for _ in range(count):
        begin = file.tell()
        name = _read_name(file)
        (kind,) = struct.unpack("<I", file.read(4))
        length = _skip(file, kind)
        if name == _TOKENS:
            tokens = length
        if name.startswith(_VOCABULARY) and name != _TEMPLATE:
            end = file.tell()
            file.seek(begin)
            found.append(file.read(end - begin))
    return found, tokens


def _read_name(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _LONGEST_NAME:
        raise KeyError(length)
    return file.read(length).decode()


def _skip(file: BinaryIO, kind: int) -> int:
    """Goes beyond a value; returns the number of values of a list, 0 of anything else."""
    if kind == _TEXT:
        (length,) = struct.unpack("<Q", file.read(8))
        file.seek(length, os.SEEK_CUR)
    elif kind == _LIST:
        inner, count = struct.unpack("<IQ", file.read(12))
        if inner in _LENGTHS:
            file.seek(_LENGTHS[inner] * count, os.SEEK_CUR)
        else:
            for _ in range(count):
                _skip(file, inner)
        return int(count)
    else:
        file.seek(_LENGTHS[kind], os.SEEK_CUR)
    return 0


def _list_tensors(tokens: int) -> tuple[list[bytes], int]:
    """The entries of the tensors in the head of the file, and the bytes of all their data."""
    shapes: list[tuple[str, tuple[int, ...], tuple[int, int, int]]] = [("token_embd", (_WIDTH, tokens), _Q8_0)]
    shapes += [(name, (_WIDTH,), _F32) for name in _VECTORS]
    shapes += [(f"blk.0.{name}", (_WIDTH, _WIDTH), _F32) for name in _MATRICES]
    entries, offset = [], 0
    for name, shape, (number, values, size) in shapes:
        entry = _name(f"{name}.weight") + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        entries.append(entry + struct.pack("<IQ", number, offset))
        offset += -(-math.prod(shape) // values * size // _ALIGNMENT) * _ALIGNMENT
    return entries, offset


def _name(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
