from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.checkpoint import tensor_bytes

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, **tensors: tuple[str, int, int]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    for name, (dtype, start, end) in tensors.items():
        header[name] = {"dtype": dtype, "shape": [1], "data_offsets": [start, end]}
    data = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(data)) + data)


def test_tensors_are_added_over_all_files_by_their_type(tmp_path: Path) -> None:
    write(tmp_path / "model-1.safetensors", a=("BF16", 0, 100), b=("F32", 100, 300))
    write(tmp_path / "model-2.safetensors", c=("BF16", 0, 50))
    assert tensor_bytes(tmp_path) == {"bfloat16": 150, "float32": 200}


def test_a_folder_without_any_has_none(tmp_path: Path) -> None:
    assert not tensor_bytes(tmp_path)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"model\.safetensors is no safetensors file"):
        tensor_bytes(tmp_path)
