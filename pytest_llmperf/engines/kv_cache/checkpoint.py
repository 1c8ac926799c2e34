"""Reads the size of a model's weights from the headers of its safetensors files."""

from __future__ import annotations

import json
import struct
from collections import Counter
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.reading import Reading

if TYPE_CHECKING:
    from pathlib import Path

_NAMES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


def count_tensor_bytes(folder: Path) -> Counter[str]:
    """Bytes of weights by their type (``bfloat16``), over all safetensors in a folder; empty if there are none.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not what its name says.
    """
    found: Counter[str] = Counter()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            try:
                (length,) = struct.unpack("<Q", file.read(8))
            except struct.error:
                raise ValueError(f"{path} is not a safetensors file") from None
            for name, tensor in json.loads(file.read(length)).items():
                if name != "__metadata__":
                    start, end = tensor["data_offsets"]
                    found[_NAMES.get(tensor["dtype"], tensor["dtype"])] += end - start
    return found


def read_weights(folder: Path | None, dtype: str) -> Reading:
    """``memory.weights`` of a checkpoint in one process that computes in ``dtype``; empty if that is unknown."""
    try:
        found = count_tensor_bytes(folder) if folder else {}
    except (OSError, ValueError, KeyError) as error:
        return Reading.missing(f"the size of the checkpoint cannot be read: {error}")
    if dtype and list(found) == [dtype]:
        how = f"tensors of the checkpoint, all of them {dtype} as they are computed with"
        return Reading(found[dtype], how, samples=1)
    return Reading.missing("this vLLM does not state it, and its checkpoint does not tell it either")
