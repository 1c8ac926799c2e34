"""Logs of engines: whatever a line holds, what is read of it is of its type, and reading never fails."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_llmperf.engines.buffers import parse_buffers
from pytest_llmperf.engines.lifecycle import logs
from pytest_llmperf.engines.llamacpp.insight import is_only_on_cpu, parse_sizes, parse_slots
from pytest_llmperf.engines.ollama.faults import find_ignored
from pytest_llmperf.engines.ollama.memory import find_stated_kv_bytes, read_offload
from pytest_llmperf.engines.vllm import log as vllm_log
from tests.fuzz.strategies import texts_of

if TYPE_CHECKING:
    from pathlib import Path

VLLM = (
    *(
        "Resolved architecture",
        "Fetching 9 files",
        ".safetensors:",
        " 50%",
        "Starting to load model",
        "Loading x checkpoint shards:",
    ),
    *("Compiling a graph", "torch.compile took", "Capturing CUDA graphs", "Capturing ", "graphs", "init engine ("),
    *(
        "ERROR 11-29 10:00:00 [core.py:1] ",
        "(EngineCore pid=1) ",
        "vllm: error: ",
        "ValueError: ",
        "Error: ",
        "validation error",
    ),
    *(
        "  Value error, ",
        "  Assertion failed, ",
        " [type=x",
        "Engine core initialization failed",
        "Worker proc X died unexpectedly",
    ),
    *(
        "Model loading took ",
        " GiB",
        "Available KV cache memory: ",
        "tensor_parallel_size=",
        ", pipeline_parallel_size=",
    ),
    *("device_config=cpu", "dtype=torch.bfloat16, ", "quantization=None", "dtype=torch."),
)
LLAMACPP = (
    *("load_tensors:   CPU_Mapped model buffer size = ", "load_tensors:  CUDA0 model buffer size = ", " MiB\n", " MiB"),
    *("load_tensors: AMX model buffer size = 1.2.3 MiB\n", "load_tensors: AMX model buffer size = 12.50 MiB\n"),
    *(
        "llama_kv_cache: size =  12.50 MiB\n",
        "llama_kv_cache: size = ",
        "llama_kv_cache:  CPU KV buffer size =  64.00 MiB\n",
    ),
    *(
        "llama_kv_cache: CUDA0 KV buffer size = ",
        "llama_context: CPU compute buffer size = ",
        ": CPU output buffer size = ",
    ),
    *("n_slots = 4, n_ctx_slot = 256, kv_unified = 'false'", "n_slots = ", ", n_ctx_slot = ", ", kv_unified = 'false'"),
)
OLLAMA = (
    *(
        "truncating input prompt",
        'level=WARN msg="invalid option provided" option=',
        "num_ctx",
        "msg=",
        "source=runner.go",
    ),
    *("load_tensors:", "offloaded ", "/", " layers to GPU", "KV buffer size", "time=2026-11-30T00:00:00Z"),
)


@given(log=texts_of(VLLM))
@example(log="tensor_parallel_size=" + "9" * 5000 + ", pipeline_parallel_size=1")
@example(log="Model loading took " + "9" * 400 + " GiB")
@example(log="Model loading took 1.2.3 GiB")
def test_any_log_of_vllm_is_read(log: str) -> None:
    for words in (vllm_log.find_stage(log), vllm_log.find_reason(log)):
        assert "\n" not in words
    found = vllm_log.Startup.read(log)
    assert found.workers >= 0
    for size in (found.weights_bytes, found.kv_bytes):
        assert size is None or (math.isfinite(size) and size >= 0)


@given(log=texts_of((*LLAMACPP, *OLLAMA)))
def test_any_log_of_llama_cpp_and_of_ollama_is_read(log: str) -> None:
    values = [reading.value for reading in parse_sizes(log).values()]
    values += [*parse_buffers(log).values(), find_stated_kv_bytes(log)]
    values += [read_offload(size, size // 2, log, here=True).value for size in (0, 1, 2**40)]
    assert all(value is None or (math.isfinite(value) and value >= 0) for value in values)
    parse_slots(log)
    is_only_on_cpu(log)
    assert all("\n" not in fault for fault in find_ignored(log))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs") / "server.log"


@given(log=st.one_of(st.binary(max_size=80), texts_of((*VLLM, "boom")).map(lambda text: text.encode(errors="replace"))))
@example(log=b"x" * 200_000)
def test_the_end_of_any_log_is_shown(log: bytes, file: Path) -> None:
    file.write_bytes(log)
    tail = logs.read_tail(file)
    assert len(tail) <= 64 * 1024
    assert tail.count("\n") < 20
    assert logs.read_tail_with_cause(file, "boom").endswith(tail)
    assert "\n" not in logs.quote_last_line(tail)
