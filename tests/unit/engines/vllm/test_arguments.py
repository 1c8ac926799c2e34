from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.vllm.arguments import (
    build_command_line,
    choose_kv_cache_bytes,
    choose_served_name,
    parse_kv_cache_bytes,
    sizes_kv_cache,
)
from pytest_llmperf.plugin.engine_options.specs import write_argument

GIB = 2**30


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("max_model_len", 2048, ["--max-model-len=2048"]),
        ("max-model-len", "2048", ["--max-model-len=2048"]),
        ("enforce_eager", True, ["--enforce-eager"]),
        ("enforce_eager", "True", ["--enforce-eager"]),
        ("enable_prefix_caching", False, ["--no-enable-prefix-caching"]),
        ("enforce_eager", "", ["--enforce-eager"]),
        ("speculative_config", {"method": "ngram", "n": 2}, ['--speculative-config={"method": "ngram", "n": 2}']),
        ("compilation_config.cudagraph_mode", "NONE", ["--compilation-config.cudagraph_mode=NONE"]),
        ("kv_cache_dtype", "fp8", ["--kv-cache-dtype=fp8"]),
        ("lora_modules", {"a": "/x/a", "b": "/x/b"}, ["--lora-modules", "a=/x/a", "b=/x/b"]),
        ("lora_modules", [{"name": "a", "path": "/x"}], ["--lora-modules", '{"name": "a", "path": "/x"}']),
        ("lora_modules", {"name": "a", "path": "/x"}, ["--lora-modules", '{"name": "a", "path": "/x"}']),
        ("lora-modules", "a=/x/a b=/x/b", ["--lora-modules", "a=/x/a", "b=/x/b"]),
    ],
)
def test_arguments_are_written_as_vllm_reads_them(key: str, value: object, words: list[str]) -> None:
    assert build_command_line({key: write_argument(value)}) == words


def test_a_kv_cache_is_written_with_its_unit() -> None:
    assert parse_kv_cache_bytes({"kv_cache": "4 GiB"}) == 4 * GIB
    assert parse_kv_cache_bytes({"max_model_len": "1"}) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kv_cache": "4"}, "vllm: engine argument kv_cache='4' has no unit"),
        (
            {"kv_cache": "4 GiB", "gpu_memory_utilization": "0.5"},
            "vllm: kv_cache and gpu_memory_utilization both say how large the KV cache is: give one of them",
        ),
    ],
)
def test_a_kv_cache_that_cannot_be_meant_is_refused(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(EngineError) as caught:
        parse_kv_cache_bytes(arguments)
    assert str(caught.value).startswith(message)


def test_the_default_on_the_cpu_leaves_the_host_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        total = 64 * GIB

    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory)
    assert choose_kv_cache_bytes({}) == 4 * GIB
    Memory.total = 8 * GIB
    assert choose_kv_cache_bytes({}) == 2 * GIB


@pytest.mark.parametrize("key", ["kv_cache_memory_bytes", "gpu_memory_utilization", "num_gpu_blocks_override"])
def test_there_is_no_default_where_the_project_says_how_much(key: str) -> None:
    assert choose_kv_cache_bytes({key: "1"}) is None


def test_a_folder_is_served_under_its_name() -> None:
    assert choose_served_name({}, "models/tiny", Path("/models/tiny")) == "tiny"
    assert choose_served_name({}, "Qwen/Qwen3-0.6B", None) == "Qwen/Qwen3-0.6B"
    assert choose_served_name({"served_model_name": "chat other"}, "Qwen/Qwen3-0.6B", None) == "chat"


def test_a_share_of_the_device_is_no_size() -> None:
    assert sizes_kv_cache({"kv_cache": "4 GiB"})
    assert not sizes_kv_cache({"gpu_memory_utilization": "0.5"})
