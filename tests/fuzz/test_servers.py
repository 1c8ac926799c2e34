"""What servers say of themselves, and the files of models: read, or refused with the documented error."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.attached import adapters, slots
from pytest_llmperf.engines.llamacpp import gguf, room
from pytest_llmperf.engines.llamacpp import server as llamacpp
from pytest_llmperf.engines.ollama.api import OllamaAPI
from pytest_llmperf.engines.ollama.memory import read_shape
from pytest_llmperf.engines.ollama.runner import Loaded
from pytest_llmperf.engines.ollama.versions import parse_version
from pytest_llmperf.engines.vllm import server as vllm
from pytest_llmperf.measurement.engine_info import classify_version
from pytest_llmperf.traffic.client.dialect import Endpoint
from tests.fuzz.refusals import read_or_refuse
from tests.fuzz.strategies import damaged, documents, json_texts, nested

if TYPE_CHECKING:
    from pathlib import Path

BASE = "http://127.0.0.1:1/v1"
SHOWN = {
    "model_info": {
        "general.architecture": "qwen3",
        "qwen3.block_count": 28,
        "qwen3.attention.head_count": 16,
        "qwen3.attention.head_count_kv": 8,
        "qwen3.attention.key_length": 128,
        "qwen3.embedding_length": 1024,
        "qwen3.context_length": 40960,
    },
    "tensors": [{"name": "a", "type": "Q4_K", "shape": [1024, 256]}, {"name": "b", "type": "F32", "shape": [1024]}],
    "modelfile": "FROM /models/blobs/sha256-" + "0" * 64 + "\n",
    "capabilities": ["completion"],
}
LISTED = {"models": [{"name": "m:latest", "digest": "0" * 64, "size": 5, "size_vram": 0, "context_length": 4096}]}
PROPERTIES = {
    "build_info": "b11549",
    "model_ftype": "Q8_0",
    "total_slots": 4,
    "default_generation_settings": {"n_ctx": 4096},
    "prompt": "a",
    "tokens": [1, 2],
}
SLOTS = [{"id": 0, "is_processing": True, "path": "/a/b.gguf"}, {"id": 1, "is_processing": False, "path": "/c/b.gguf"}]
MODELS = {"data": [{"id": "m", "parent": None}, {"id": "l", "parent": "m"}]}
answers = json_texts([SHOWN, LISTED, PROPERTIES, SLOTS, MODELS, {"version": "0.31.2"}], ("data", "id", "models"))
DEEP = nested("[", "]")


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bytes in it are what every server answers."""
    said = [b""]
    for module in (adapters, slots, llamacpp, room, vllm):
        for name in ("http_get", "http_post"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda *_args, **_more: said[0])
    return said


@given(content=answers)
@example(content=DEEP)
@example(content=b'[{"id": 1e999, "path": ""}]')
@example(content=b"[1]")
def test_any_answer_about_slots_and_adapters_is_read(content: bytes, answer: list[bytes]) -> None:
    answer[0] = content
    busy = slots.count_busy_slots("http://x")
    assert busy is None or busy >= 0
    assert isinstance(adapters.list_model_adapters(BASE), dict)
    assert isinstance(adapters.list_numbered_adapters("http://x"), dict)


@given(content=answers)
@example(content=DEEP)
@example(content=b'{"total_slots": 1e999, "default_generation_settings": {"n_ctx": 1e999}}')
@example(content=b"[1]")
def test_any_answer_of_llama_cpp_and_vllm_is_read_or_an_error_of_the_engine(
    content: bytes, answer: list[bytes]
) -> None:
    answer[0] = content
    for read in (llamacpp.read_version, llamacpp.erase_slots, vllm.read_version):
        read_or_refuse(partial(read, BASE), EngineError)
    room._read_slots.cache_clear()
    room._count_tokens.cache_clear()
    asked = {"prompt": "a" * 9999, "max_tokens": 5}
    _, refusal = read_or_refuse(lambda: room.check_room(Endpoint(BASE, "", "m"), asked), ValueError)
    assert not refusal or "do not fit" in refusal


@given(content=answers)
@example(content=DEEP)
@example(content=b'{"models": [1]}')
def test_any_answer_of_ollama_is_read_or_an_error_of_the_engine(content: bytes) -> None:
    api = OllamaAPI("http://127.0.0.1:1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "_answer", lambda *_args, **_more: _Answer(content))
        for read in (api.version, api.models, lambda: read_shape(api.show("m")), lambda: list_loaded(api)):
            read_or_refuse(read, EngineError)


def list_loaded(api: OllamaAPI) -> None:
    for entry in api.list_loaded():
        loaded = Loaded(entry, None)
        assert min(loaded.context, loaded.size, loaded.size_vram) >= 0


class _Answer:
    """An answer that has come, as a context."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to close."""

    def read(self) -> bytes:
        return self._content


@given(shown=documents([SHOWN]))
def test_any_description_of_a_model_has_a_shape(shown: Any) -> None:
    if not isinstance(shown, dict):
        return
    shape = read_shape(shown)
    assert shape.weights_bytes is None or (math.isfinite(shape.weights_bytes) and shape.weights_bytes > 0)
    assert shape.values_per_token is not None or shape.reason


@given(version=st.one_of(st.text(max_size=12), st.from_regex(r"v?\d{1,30}\.\d{1,30}\.\d{1,30}-?\w*", fullmatch=True)))
@example(version="9" * 5000 + ".0.0")
def test_any_version_has_a_place_among_all(version: str) -> None:
    assert parse_version(version) >= (0,)
    assert len(classify_version(version)) < 10


KEY = b"\x11\0\0\0\0\0\0\0general.file_type\x04\0\0\0"


@given(content=damaged(b"GGUF\x03\0\0\0" + KEY + b"\x07\0\0\0" + b"\0" * 9, (KEY, b"\xff" * 8)))
def test_any_gguf_file_has_a_digest(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file: Path = tmp_path_factory.getbasetemp() / "model.gguf"
    file.write_bytes(content)
    facts = gguf.read_model_facts(file)
    assert facts.digest
    assert facts.quantisation.isprintable()
