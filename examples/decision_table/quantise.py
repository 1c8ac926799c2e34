"""Makes a second model file: the bundled one, or another GGUF, with its weights in another format.

    python examples/decision_table/quantise.py Q8_0
    python examples/decision_table/quantise.py Q4_0 --source model.gguf --target smaller.gguf

Prints the path of the file, which lies beside the source unless --target says otherwise, and is made once. Needs
``pip install 'pytest-llmperf[llamacpp]'``: the arithmetic is that of the ggml in its wheel, so the file is one that
llama.cpp would have made, but for what it knows of layers.

A format with more bits does not bring back what the source has lost: the bundled model is Q4_1, so as Q8_0 it answers
as before, takes more memory, and reads more bytes a token. Q4_0 loses a little more.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pytest_llmperf.engines.bundled_model import fetch_bundled_model

# The number of each format in a GGUF, that of a file that has it throughout, and its bytes per block of 32 weights.
FORMATS = {"Q4_0": (2, 2, 18), "Q4_1": (3, 3, 20), "Q5_0": (6, 8, 22), "Q5_1": (7, 9, 24), "Q8_0": (8, 7, 34)}
BLOCK = 32
_BY_NUMBER = {number: name for name, (number, _, _) in FORMATS.items()}
# Of a value in the header: its length by its type.
_LENGTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_TEXT, _LIST = 8, 9
_ROWS = 1024


@dataclass
class Tensor:
    """One tensor: its shape, its format, and where its data and its entry in the header lie."""

    shape: tuple[int, ...]
    format: int
    offset: int
    entry: int
    size: int = 0

    @property
    def weights(self) -> int:
        count = 1
        for length in self.shape:
            count *= length
        return count


@dataclass
class Header:
    """What a GGUF file begins with: ``raw`` is all of it, up to the first tensor's data."""

    raw: bytearray
    tensors: list[Tensor]
    alignment: int
    file_type: int


class Reader:
    """Reads the parts of a header in order."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, layout: str) -> tuple[int, ...]:
        found: tuple[int, ...] = struct.unpack(f"<{layout}", self._file.read(struct.calcsize(f"<{layout}")))
        return found

    def text(self) -> str:
        (length,) = self.read("Q")
        return self._file.read(length).decode("utf-8", "replace")

    def skip(self, kind: int) -> None:
        if kind == _TEXT:
            self.text()
        elif kind == _LIST:
            inner, count = self.read("IQ")
            for _ in range(count):
                self.skip(inner)
        else:
            self._file.seek(_LENGTHS[kind], os.SEEK_CUR)


def read_header(file: BinaryIO) -> Header:
    """The header of a GGUF file of version 2 or 3."""
    reader = Reader(file)
    if file.read(4) != b"GGUF":
        raise SystemExit(f"{file.name} is no GGUF file")
    version, tensor_count, value_count = reader.read("IQQ")
    if version not in (2, 3):
        raise SystemExit(f"{file.name} is a GGUF of version {version}: this reads 2 and 3")
    alignment, file_type = BLOCK, 0
    for _ in range(value_count):
        key, (kind,) = reader.text(), reader.read("I")
        at = file.tell()
        reader.skip(kind)
        if key == "general.file_type":
            file_type = at
        elif key == "general.alignment":
            file.seek(at)
            (alignment,) = reader.read("I")
    tensors = []
    for _ in range(tensor_count):
        reader.text()
        (dimensions,) = reader.read("I")
        shape = reader.read(f"{dimensions}Q")
        entry = file.tell()
        tensors.append(Tensor(shape, *reader.read("IQ"), entry))
    start = _align(file.tell(), alignment)
    file.seek(0, os.SEEK_END)
    ends = [*sorted(tensor.offset for tensor in tensors)[1:], file.tell() - start]
    for tensor, end in zip(sorted(tensors, key=lambda one: one.offset), ends, strict=True):
        tensor.size = end - tensor.offset
    file.seek(0)
    return Header(bytearray(file.read(start)), tensors, alignment, file_type)


class Ggml:
    """The two functions of ggml that are needed: from a format to floats, and back."""

    def __init__(self) -> None:
        import xllamacpp

        (library,) = Path(xllamacpp.__file__).parent.glob("xllamacpp*.so")
        self._library = ctypes.CDLL(str(library))
        try:
            self._quantise = self._library.ggml_quantize_chunk
        except AttributeError:
            raise SystemExit(f"xllamacpp {xllamacpp.__version__} does not offer ggml_quantize_chunk") from None
        size, whole = ctypes.c_size_t, ctypes.c_int64
        pointer = ctypes.c_void_p
        self._quantise.argtypes = [ctypes.c_int, pointer, pointer, whole, whole, whole, pointer]
        self._quantise.restype = size

    def convert(self, data: bytes, row: int, source: str, target: str) -> bytes:
        """Rows of so many weights in another format."""
        weights = len(data) // FORMATS[source][2] * BLOCK
        floats = (ctypes.c_float * weights)()
        expand = getattr(self._library, f"dequantize_row_{source.lower()}")
        expand.argtypes, expand.restype = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64], None
        expand(data, ctypes.addressof(floats), weights)
        out = ctypes.create_string_buffer(weights // BLOCK * FORMATS[target][2])
        written = self._quantise(
            FORMATS[target][0], ctypes.addressof(floats), ctypes.addressof(out), 0, weights // row, row, None
        )
        assert written == len(out)
        return out.raw


def convert(source: Path, target: Path, name: str) -> None:
    """Writes ``target``: ``source`` with each tensor that is in a format of blocks in that of ``name`` instead."""
    ggml = Ggml()
    with source.open("rb") as file, target.open("wb") as out:
        header = read_header(file)
        out.write(header.raw)
        start = len(header.raw)
        for tensor in sorted(header.tensors, key=lambda one: one.offset):
            offset = _align(out.tell() - start, header.alignment)
            out.write(b"\0" * (start + offset - out.tell()))
            file.seek(start + tensor.offset)
            found = _BY_NUMBER.get(tensor.format)
            if found is None or found == name:
                out.write(file.read(tensor.size))
            else:
                struct.pack_into("<I", header.raw, tensor.entry, FORMATS[name][0])
                row = tensor.shape[0]
                left = tensor.weights // row
                while left:
                    rows = min(left, _ROWS)
                    data = file.read(rows * row // BLOCK * FORMATS[found][2])
                    out.write(ggml.convert(data, row, found, name))
                    left -= rows
            struct.pack_into("<Q", header.raw, tensor.entry + 4, offset)
        if header.file_type:
            struct.pack_into("<I", header.raw, header.file_type, FORMATS[name][1])
        out.seek(0)
        out.write(header.raw)


def _align(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


def quantise(name: str, source: Path, target: Path) -> Path:
    """The file, which is made if it is not there; whole or not at all."""
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            partial = Path(folder) / target.name
            convert(source, partial, name)
            partial.replace(target)
    return target


def make_variant(name: str, source: Path | None = None, target: Path | None = None) -> Path:
    """The file with the weights of ``source``, else of the bundled model, in the format ``name``."""
    source = source or fetch_bundled_model(lambda text: None)
    stem, own = source.stem.removesuffix("-Q4_1"), source.stem.rpartition("-")[2]
    if target is None and own == name:
        return source
    return quantise(name, source, target or source.with_name(f"{stem}-{name}.gguf"))


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description="Makes a GGUF with its weights in another format.")
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("--source", type=Path, help="the GGUF to convert; without it the bundled model")
    parser.add_argument("--target", type=Path, help="the file to make; without it one beside the source")
    asked = parser.parse_args()
    print(make_variant(asked.format, asked.source, asked.target))


if __name__ == "__main__":
    main()
