"""The decision table's second model file: the weights of a GGUF in another format, and all else as it was."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

FOLDER = Path(__file__).parents[2] / "examples" / "decision_table"


@pytest.fixture
def quantise(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("xllamacpp")
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.delitem(sys.modules, "quantise", raising=False)
    import quantise  # type: ignore[import-not-found]

    found: ModuleType = quantise
    return found


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def write_model(path: Path) -> None:
    """Two rows of 32 weights from 0 to 15 in Q4_1, and one of floats, with a list and a text before them."""
    values = text("general.file_type") + struct.pack("<II", 4, 3)
    values += text("words") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("")
    values += text("name") + struct.pack("<I", 8) + text("tiny")
    tensors = text("floats") + struct.pack("<IQIQ", 1, 32, 0, 64)
    tensors += text("weights") + struct.pack("<IQQIQ", 2, 32, 2, 3, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 2, 3) + values + tensors
    row = struct.pack("<ee", 1.0, 0.0) + bytes(i | (15 - i) << 4 for i in range(16))
    path.write_bytes(
        head.ljust(-(-len(head) // 32) * 32, b"\0") + (row * 2).ljust(64, b"\0") + struct.pack("<32f", *range(32))
    )


def test_weights_are_in_the_other_format_and_all_else_is_as_it_was(quantise: Any, tmp_path: Path) -> None:
    source, target = tmp_path / "tiny-Q4_1.gguf", tmp_path / "tiny-Q8_0.gguf"
    write_model(source)
    assert quantise.quantise("Q8_0", source, target) == target
    with target.open("rb") as file:
        header = quantise.read_header(file)
        data = {tensor.format: (tensor, len(header.raw) + tensor.offset) for tensor in header.tensors}
        weights, at = data[8]
        file.seek(at)
        for _ in range(2):
            (scale, *found) = struct.unpack("<e32b", file.read(34))
            expected = [*range(16), *reversed(range(16))]
            assert [scale * one for one in found] == pytest.approx(expected, abs=0.08)
        floats, at = data[0]
        file.seek(at)
        assert struct.unpack("<32f", file.read(128)) == tuple(range(32))
    assert (weights.shape, floats.shape) == ((32, 2), (32,))
    assert header.raw[header.file_type : header.file_type + 4] == struct.pack("<I", 7)
    before = source.read_bytes()
    assert header.raw[: header.file_type] == before[: header.file_type]


def test_what_is_no_gguf_is_refused_and_leaves_no_file(quantise: Any, tmp_path: Path) -> None:
    source, target = tmp_path / "model.bin", tmp_path / "model.gguf"
    source.write_bytes(b"safetensors")
    with pytest.raises(SystemExit, match="is no GGUF file"):
        quantise.quantise("Q8_0", source, target)
    assert list(tmp_path.iterdir()) == [source]
