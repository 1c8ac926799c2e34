"""Computes the size of a model's weights and KV cache from what ``/api/show`` says."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.buffers import MEBIBYTES, is_on_host, parse_buffers
from pytest_llmperf.engines.kv_cache.slots import Slots
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.telemetry.cpu import has_amx
from pytest_llmperf.telemetry.sources.drivers import has_gpu
from pytest_llmperf.traffic.answers.json_fields import as_count, as_dict, as_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The runner makes each context a multiple of so many tokens.
_CONTEXT_STEP = 256
# Bytes of one value of the KV cache: a block of 32 values has a scale of 2 bytes.
_CACHE_BYTES = {"f16": 2.0, "bf16": 2.0, "f32": 4.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
# Bytes and values of one block of a tensor, by the type's name in GGUF.
_BLOCKS = {
    "F64": (8, 1),
    "F32": (4, 1),
    "F16": (2, 1),
    "BF16": (2, 1),
    "I8": (1, 1),
    "I16": (2, 1),
    "I32": (4, 1),
    "I64": (8, 1),
    "Q4_0": (18, 32),
    "Q4_1": (20, 32),
    "Q5_0": (22, 32),
    "Q5_1": (24, 32),
    "Q8_0": (34, 32),
    "MXFP4": (17, 32),
    "IQ4_NL": (18, 32),
    "Q2_K": (84, 256),
    "Q3_K": (110, 256),
    "Q4_K": (144, 256),
    "Q5_K": (176, 256),
    "Q6_K": (210, 256),
    "IQ4_XS": (136, 256),
}
# Layers that keep less than all tokens, or no keys and values at all.
_UNEVEN = ("attention.sliding_window", "attention.kv_lora_rank", "ssm.state_size")
_KV_LINE = re.compile(rf"llama_kv_cache\S{{0,40}}:[^\n]{{0,200}}? KV buffer size =\s+{MEBIBYTES}")
_WEIGHTS_LINE = "model buffer size ="
_BLOB = re.compile(r"^FROM\s+(?P<folder>.*[/\\])?(?P<name>sha256-[0-9a-f]{64})\s*$", re.MULTILINE)


def pad_context(context: int) -> int:
    """The context, in tokens, that the runner makes of the one asked for."""
    return math.ceil(context / _CONTEXT_STEP) * _CONTEXT_STEP


@dataclass(frozen=True)
class Shape:
    """A model as the server describes it.

    ``values_per_token`` are the values of keys and of values that a token has in the KV cache, None with the
    ``reason`` why they cannot be told. ``weights_bytes`` is None if a tensor is of an unknown type.
    ``completes`` and ``embeds`` say whether it generates texts and vectors of them.
    ``blob`` is the name of its file in the store, and ``path`` where that lies on the server's host, "" if the server
    does not say.
    """

    trained_context: int | None
    weights_bytes: float | None
    values_per_token: tuple[int, int] | None
    reason: str
    blob: str
    completes: bool
    path: str = ""
    embeds: bool = False

    def token_bytes(self, cache_types: tuple[str, str]) -> float | None:
        """Bytes of KV cache for one token, with keys and values of these types."""
        if self.values_per_token is None or not all(kind in _CACHE_BYTES for kind in cache_types):
            return None
        sizes = (_CACHE_BYTES[kind] for kind in cache_types)
        return sum(values * size for values, size in zip(self.values_per_token, sizes, strict=True))

    @property
    def weights(self) -> Reading:
        if self.weights_bytes is None:
            return Reading.missing("the model has tensors of a type whose size is not known")
        return Reading(self.weights_bytes, "the model's tensors, as Ollama lists them", samples=1)


def read_shape(shown: Mapping[str, Any]) -> Shape:
    """Reads a model's shape from the answer of ``/api/show``."""
    info = as_dict(shown.get("model_info"))
    architecture = str(info.get("general.architecture", ""))
    trained = info.get(f"{architecture}.context_length")
    values, reason = _values_per_token(info, architecture)
    blob = _BLOB.search(str(shown.get("modelfile", "")))
    return Shape(
        trained_context=as_count(trained),
        weights_bytes=sum_tensor_bytes(as_list(shown.get("tensors"))),
        values_per_token=values,
        reason=reason,
        blob=blob["name"] if blob else "",
        completes="completion" in (as_list(shown.get("capabilities")) or ("completion",)),
        embeds="embedding" in as_list(shown.get("capabilities")),
        path=f"{blob['folder'] or ''}{blob['name']}" if blob else "",
    )


def sum_tensor_bytes(tensors: Sequence[object]) -> float | None:
    """The bytes of all tensors; None if there are none, or one is of an unknown type or shape."""
    total = 0.0
    for tensor in map(as_dict, tensors):
        block = _BLOCKS.get(str(tensor.get("type", "")).upper())
        count = _count_values(tensor.get("shape"))
        if block is None or count is None:
            return None
        size, values = block
        total += count / values * size
    return total or None


def _count_values(shape: object) -> int | None:
    lengths = [as_count(length) for length in as_list(shape)] or [0]
    return None if None in lengths else as_count(math.prod(length or 0 for length in lengths))


def _values_per_token(info: Mapping[str, Any], architecture: str) -> tuple[tuple[int, int] | None, str]:
    uneven = next((key for key in _UNEVEN if info.get(f"{architecture}.{key}")), "")
    if uneven:
        return None, f"the layers of this model do not all keep a key and a value of each token ({uneven})"
    layers, heads, embedding, key, value = (
        as_count(info.get(f"{architecture}.{name}"))
        for name in (
            "block_count",
            "attention.head_count",
            "embedding_length",
            "attention.key_length",
            "attention.value_length",
        )
    )
    kv_heads = info.get(f"{architecture}.attention.head_count_kv")
    if layers is None or not heads or embedding is None:
        return None, "the model's metadata do not tell the shape of its KV cache"
    each = embedding // heads
    if isinstance(kv_heads, list):
        # One number a layer; 0 for a layer without attention.
        counts = [as_count(number) for number in kv_heads]
        all_heads = 0 if None in counts else sum(filter(None, counts))
    else:
        known = as_count(kv_heads)
        all_heads = layers * (heads if known is None else known)
    sizes = (each if key is None else key, each if value is None else value)
    return (all_heads * sizes[0], all_heads * sizes[1]), ""


def find_stated_kv_bytes(log: str) -> float | None:
    """What the runner said, while it loaded last, that its KV caches take together, in bytes; None if it did not."""
    found = _KV_LINE.findall(log[log.rfind(_WEIGHTS_LINE) :])
    return sum(map(float, found)) * 2**20 if found else None


def read_offload(size: int, size_vram: int, log: str, *, here: bool) -> Reading:
    """The share of a model on a GPU, of what Ollama states and its runner logged while it loaded, in bytes.

    Ollama takes every buffer for a GPU's that is not called the CPU's, such as those for a processor's AMX units.
    ``here`` is whether the server runs on this host.
    """
    how = "size_vram ÷ size, as Ollama states them"
    buffers = parse_buffers(log)
    if buffers:
        mistaken = sum(taken for name, taken in buffers.items() if name == "AMX")
        how += ", without buffers for AMX" if mistaken else ""
        size_vram = 0 if all(map(is_on_host, buffers)) else max(0, round(size_vram - mistaken))
    elif size_vram and here and not has_gpu():
        return Reading(0.0, "this host has no GPU; Ollama takes buffers for AMX for a GPU's", samples=1)
    elif size_vram and here and has_amx():
        return Reading.missing("Ollama takes buffers for AMX for a GPU's, and how large they are is not seen")
    return Reading(size_vram / size if size else 0.0, how, samples=1)


@dataclass(frozen=True)
class Footprint:
    """The memory of a loaded model. ``context`` is of one slot, in tokens, as it was asked for.

    ``slots`` and ``cache_types`` are None if unknown; ``stated`` is what the runner said of its KV caches while
    it loaded, in bytes. ``offload`` is the share of the model on a GPU, as ``read_offload`` gives it.
    """

    shape: Shape
    context: int
    slots: int | None
    cache_types: tuple[str, str] | None
    offload: Reading
    stated: float | None = None

    def describe_slot(self) -> Slots:
        """The KV cache of one request: its context in tokens, and the bytes that each token takes."""
        token_bytes = None if self.cache_types is None else self.shape.token_bytes(self.cache_types)
        return Slots(pad_context(self.context), token_bytes, self._why_unknown())

    def _why_unknown(self) -> str:
        if self.cache_types is None:
            return "the type of the KV cache is not known: the server's processes are not seen from here"
        kinds = " and ".join(dict.fromkeys(self.cache_types))
        return self.shape.reason or f"the size of a KV cache of type {kinds} is not known"

    def readings(self) -> dict[str, Reading]:
        """``memory.weights``, ``memory.kv_reserved`` and ``memory.offload``."""
        return {
            "memory.weights": self.shape.weights,
            "memory.kv_reserved": self._read_reserved(),
            "memory.offload": self.offload,
        }

    def _read_reserved(self) -> Reading:
        slot = self.describe_slot()
        if slot.token_bytes is not None and self.slots is not None:
            tokens = f"{slot.context} tokens × {self.slots} slot{'s' if self.slots > 1 else ''}"
            how = f"{slot.token_bytes:g} B a token by the model's metadata × {tokens}"
            return Reading(slot.token_bytes * slot.context * self.slots, how, samples=1)
        if self.stated is not None:
            return Reading(self.stated, "stated by Ollama's runner while loading", samples=1)
        if slot.token_bytes is None:
            return Reading.missing(slot.reason)
        return Reading.missing("how many requests the server answers at a time is not known: its runner is not seen")
