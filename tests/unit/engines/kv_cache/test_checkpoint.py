from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.kv_cache.checkpoint import count_tensor_bytes, read_weights

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
    assert count_tensor_bytes(tmp_path) == {"bfloat16": 150, "float32": 200}


def test_a_folder_without_any_has_none(tmp_path: Path) -> None:
    assert not count_tensor_bytes(tmp_path)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"model\.safetensors is not a safetensors file"):
        count_tensor_bytes(tmp_path)


def test_weights_of_one_type_are_held_as_they_are_where_the_engine_computes_in_it(tmp_path: Path) -> None:
    write(tmp_path / "model.safetensors", a=("BF16", 0, 100))
    assert read_weights(tmp_path, "bfloat16").value == 100
    write(tmp_path / "more.safetensors", a=("F32", 0, 100))
    for folder, dtype in ((tmp_path, "bfloat16"), (tmp_path, ""), (None, "bfloat16")):
        assert read_weights(folder, dtype).reason == (
            "this vLLM does not state it, and its checkpoint does not tell it either"
        )
    (tmp_path / "more.safetensors").write_bytes(b"x")
    assert read_weights(tmp_path, "bfloat16").reason.startswith("the size of the checkpoint cannot be read: ")
