"""What a model takes, from what a real server says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.ollama import memory
from pytest_llmperf.engines.ollama.memory import (
    Footprint,
    Shape,
    find_stated_kv_bytes,
    pad_context,
    read_offload,
    read_shape,
    sum_tensor_bytes,
)
from pytest_llmperf.measurement.reading import Reading
from tests.helpers.captured import captured

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
SHOWN: dict[str, Any] = json.loads(captured("ollama/show.json"))
F16 = ("f16", "f16")


def reserved(shape: Shape | None = None, **changes: Any) -> Reading:
    settings = {"context": 2048, "slots": 1, "cache_types": F16, "offload": Reading(0.0), **changes}
    return Footprint(shape or read_shape(SHOWN), **settings).readings()["memory.kv_reserved"]


def with_info(**changes: object) -> dict[str, Any]:
    info = {**SHOWN["model_info"], **{f"llama.{key.replace('__', '.')}": value for key, value in changes.items()}}
    return {**SHOWN, "model_info": info}


def test_the_weights_are_what_its_log_said_when_it_was_loaded() -> None:
    assert read_shape(SHOWN).weights.value == pytest.approx(92.10 * MIB, rel=1e-4)


def test_the_kv_cache_is_what_its_log_said_when_it_was_loaded() -> None:
    shape = read_shape(SHOWN)
    assert shape.token_bytes(F16) == 23040
    assert reserved(context=2048).value == 45 * MIB
    assert reserved(context=4096).value == 90 * MIB
    assert reserved(context=4096, slots=4).value == 360 * MIB
    assert reserved(context=4096, slots=4).how == ("23040 B a token by the model's metadata × 4096 tokens × 4 slots")


def test_a_cache_of_fewer_bits_takes_less() -> None:
    # 209505483 bytes of the whole with f16, 164123113 with q8_0, at a context of 4096.
    saved = (209505483 - 164123113) / 4096
    shape = read_shape(SHOWN)
    assert 23040 - (shape.token_bytes(("q8_0", "q8_0")) or 0) == pytest.approx(saved, rel=0.05)
    assert shape.token_bytes(("q1_0", "f16")) is None


def test_other_facts_of_the_model() -> None:
    shape = read_shape(SHOWN)
    assert shape.trained_context == 8192
    assert shape.blob == "sha256-941f309b54caaad6747569ba43712bcde44a2be3bae16c3282ff499c37c54af5"
    assert shape.completes
    assert not read_shape({**SHOWN, "capabilities": ["embedding"]}).completes


def test_keys_and_values_of_their_own_length_and_heads_that_differ_by_layer_count_as_they_are() -> None:
    assert read_shape(with_info(attention__key_length=128, attention__value_length=96)).values_per_token == (
        30 * 3 * 128,
        30 * 3 * 96,
    )
    assert read_shape(with_info(attention__head_count_kv=[3, 0, 1] * 10)).values_per_token == (40 * 64, 40 * 64)


@pytest.mark.parametrize("key", ["attention__sliding_window", "attention__kv_lora_rank", "ssm__state_size"])
def test_where_layers_do_not_keep_every_token_nothing_is_claimed(key: str) -> None:
    shape = read_shape(with_info(**{key: 512}))
    assert shape.token_bytes(F16) is None
    assert shape.reason.startswith("the layers of this model do not all keep a key and a value of each token")
    assert reserved(shape).reason == shape.reason
    stated = reserved(shape, stated=5.0)
    assert (stated.value, stated.how) == (5, "stated by Ollama's runner while loading")


def test_the_log_of_the_last_load_says_what_its_caches_take() -> None:
    log = captured("ollama/runner_buffer_lines.txt")
    assert find_stated_kv_bytes(log) == 90 * MIB
    more = "llama_kv_cache_iswa:      CUDA0 KV buffer size =    10.00 MiB\n"
    assert find_stated_kv_bytes(log + more) == 100 * MIB
    assert find_stated_kv_bytes("") is None


def test_what_is_not_told_is_not_guessed() -> None:
    shape = read_shape({"model_info": {}})
    assert (shape.trained_context, shape.weights_bytes, shape.blob) == (None, None, "")
    assert shape.token_bytes(F16) is None
    assert shape.reason == "the model's metadata do not tell the shape of its KV cache"
    assert shape.weights.reason == "the model has tensors of a type whose size is not known"
    assert reserved(slots=None).reason.startswith("how many requests the server answers at a time is not known")
    assert reserved(cache_types=None).reason.startswith("the type of the KV cache is not known")
    assert reserved(cache_types=("q1_0", "f16")).reason == "the size of a KV cache of type q1_0 and f16 is not known"
    assert sum_tensor_bytes([{"type": "Q9_9", "shape": [32]}]) is None
    assert replace(shape, weights_bytes=5.0).weights.value == 5


@pytest.mark.parametrize(("asked", "given"), [(100, 256), (256, 256), (257, 512), (4096, 4096)])
def test_a_context_is_made_a_multiple_of_256(asked: int, given: int) -> None:
    assert pad_context(asked) == given


AMX = """\
load_tensors:          AMX model buffer size =    92.10 MiB
llama_context:        CPU  output buffer size =     0.19 MiB
llama_kv_cache:        CPU KV buffer size =    90.00 MiB
sched_reserve:        CPU compute buffer size =    17.51 MiB
"""
ON_GPU = AMX.replace("AMX model", "CUDA0 model").replace("CPU KV", "CUDA0 KV")
OF_BOTH = f"{ON_GPU}load_tensors:          AMX model buffer size =    20.00 MiB\n"


@pytest.fixture
def hosted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this host one with or without a GPU, and AMX."""

    def host(*, gpu: bool, amx: bool) -> None:
        monkeypatch.setattr(memory, "has_gpu", lambda: gpu)
        monkeypatch.setattr(memory, "has_amx", lambda: amx)

    return host


@pytest.mark.parametrize(
    ("size_vram", "log", "gpu", "amx", "here", "share"),
    [
        (0, "", False, False, True, 0.0),
        (200, "", True, False, True, 1.0),
        (200, "", False, True, True, 0.0),
        (200, "", False, False, True, 0.0),
        (200, "", True, True, True, None),
        (0, "", True, True, True, 0.0),
        # Of a server elsewhere no more is known than it states.
        (200, "", False, True, False, 1.0),
        (96, AMX, True, True, True, 0.0),
        (200, ON_GPU, True, True, True, 1.0),
        (100, ON_GPU, False, False, True, 0.5),
    ],
)
def test_what_lies_on_a_gpu_is_told_from_what_ollama_takes_for_it(
    hosted: Callable[..., None], size_vram: int, log: str, gpu: bool, amx: bool, here: bool, share: float | None
) -> None:
    hosted(gpu=gpu, amx=amx)
    found = read_offload(200, size_vram, log, here=here)
    assert found.value == share
    assert bool(found.reason) == (share is None)


def test_buffers_for_amx_beside_a_gpu_are_taken_off() -> None:
    found = read_offload(200 * MIB, 120 * MIB, OF_BOTH, here=True)
    assert found.value == 0.5
    assert found.how.endswith("without buffers for AMX")


def test_a_model_without_a_size_has_no_share() -> None:
    assert read_offload(0, 0, "", here=True).value == 0
