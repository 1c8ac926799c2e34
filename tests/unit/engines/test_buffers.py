from __future__ import annotations

import pytest

from pytest_llmperf.engines.buffers import is_on_host, parse_buffers

LOG = """\
load_tensors:   CPU_Mapped model buffer size =    28.00 MiB
load_tensors:        CUDA0 model buffer size =   100.50 MiB
load_tensors:        CUDA1 model buffer size =    10.00 MiB
llama_context:  CUDA_Host  output buffer size =     0.50 MiB
llama_kv_cache:      CUDA0 KV buffer size =    45.00 MiB
llama_kv_cache: size =   45.00 MiB (   512 cells,  30 layers,  4/4 seqs)
sched_reserve:        AMX compute buffer size =    4.00 MiB
"""


def test_buffers_of_a_kind_are_added_up() -> None:
    assert {name: taken / 2**20 for name, taken in parse_buffers(LOG).items()} == {
        "CPU_Mapped": 28.0,
        "CUDA0": 145.5,
        "CUDA1": 10.0,
        "CUDA_Host": 0.5,
        "AMX": 4.0,
    }
    assert parse_buffers("") == {}


@pytest.mark.parametrize("name", ["CPU", "CPU_Mapped", "CPU_REPACK", "AMX", "CUDA_Host", "Vulkan_Host", "BLAS"])
def test_these_are_the_hosts_memory(name: str) -> None:
    assert is_on_host(name)


@pytest.mark.parametrize("name", ["CUDA0", "ROCm1", "Vulkan0", "Metal", "MTL0", "SYCL0"])
def test_these_are_a_devices(name: str) -> None:
    assert not is_on_host(name)
