"""LoRA adapters with random weights, written without any other package: for vLLM's tiny model, and as GGUF."""

from __future__ import annotations

import json
import struct
from array import array
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

RANK = 4


def write_peft_adapter(folder: Path, *, seed: int, hidden: int = 256, layers: int = 4) -> Path:
    """An adapter of the query projections, in the form of PEFT; the model has as many outputs there as inputs."""
    folder.mkdir(parents=True)
    settings = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 2 * RANK, "bias": "none",
        "target_modules": ["q_proj"], "base_model_name_or_path": "tiny-llama",
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    random, header, data = Random(seed), {}, b""
    for layer in range(layers):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        for part, shape in (("lora_A", [RANK, hidden]), ("lora_B", [hidden, RANK])):
            numbers = _draw(random, RANK * hidden)
            header[f"{name}.{part}.weight"] = {
                "dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(numbers)],
            }  # fmt: skip
            data += numbers
    head = json.dumps(header).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)
    return folder


def write_gguf_adapter(file: Path, *, seed: int, hidden: int = 576, layers: int = 30) -> Path:
    """An adapter of the query projections of the bundled model, for llama.cpp."""
    random, tensors, data = Random(seed), b"", b""
    for layer in range(layers):
        for part, shape in (("lora_a", (hidden, RANK)), ("lora_b", (RANK, hidden))):
            name = _text(f"blk.{layer}.attn_q.weight.{part}")
            tensors += name + struct.pack("<IQQIQ", len(shape), *shape, 0, len(data))
            data += _draw(random, RANK * hidden)
    words = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
    settings = b"".join(_text(key) + struct.pack("<I", 8) + _text(value) for key, value in words.items())
    settings += _text("adapter.lora.alpha") + struct.pack("<If", 6, 2.0 * RANK)
    head = b"GGUF" + struct.pack("<IQQ", 3, 2 * layers, len(words) + 1) + settings + tensors
    file.write_bytes(head + bytes(-len(head) % 32) + data)
    return file


def _draw(random: Random, count: int) -> bytes:
    return array("f", (random.gauss(0, 0.2) for _ in range(count))).tobytes()


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()
