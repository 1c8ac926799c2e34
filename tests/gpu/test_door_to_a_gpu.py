"""What listens for an engine whose processes are others', as routers do, has nothing of the GPU's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.testing import GIB, ScriptedProcess
from tests.gpu.gpu_runs import UUID, one_gpu
from tests.helpers.simulated_process import serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from pytest_llmperf.testing import Scenario
    from tests.gpu.gpu_runs import GpuRuns

SUITE = """
@pytest.mark.memory_budget(peak="4 GiB")
def test_one(llm_client):
    llm_client.generate("Hello", max_tokens=2)
"""


def measure(runs: GpuRuns, folder: Path, *, on_gpu: bool) -> pytest.RunResult:
    with serving(folder, memory=f"{64 << 20} B") as server:
        pid = server.process.pid if on_gpu else 1
        runs.live.set_process(UUID, ScriptedProcess(pid, used=2 * GIB, name="shard"))
        runs.live.set(UUID, used=2 * GIB)
        return runs.plain(
            SUITE, "--llm-engine=openai", f"--llmperf-url=http://127.0.0.1:{server.port}", "--llmperf-strict"
        )


def test_a_router_whose_shards_compute_is_not_measured(gpu_runs: Callable[[Scenario], GpuRuns], tmp_path: Path) -> None:
    result = measure(gpu_runs(one_gpu()), tmp_path, on_gpu=False)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["memory.peak NOT MEASURED: process * holds * MiB and nothing on the GPU, on which 1 (shard) computes: it *"]
    )


def test_the_engine_that_is_on_the_gpu_itself_is(gpu_runs: Callable[[Scenario], GpuRuns], tmp_path: Path) -> None:
    measure(gpu_runs(one_gpu()), tmp_path, on_gpu=True).assert_outcomes(passed=1)
