"""The memory that Ollama has on a GPU is held by the child that has the model, and after each load by another one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.testing import GIB
from tests.gpu.gpu_runs import one_gpu
from tests.ollama_double import MODEL, install

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_llmperf.testing import Scenario
    from tests.gpu.gpu_runs import GpuRuns


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("LLMPERF_DOUBLE", json.dumps({"vram": 1.0}))
    return [
        f"--llm-engine=ollama:{MODEL}",
        f"--llmperf-engine-bin={install(tmp_path)}",
        f"--llmperf-engine-arg=models_dir={tmp_path / 'models'}",
    ]


def test_its_memory_follows_the_runner_from_load_to_load(
    gpu_runs: Callable[[Scenario], GpuRuns], options: list[str]
) -> None:
    runs = gpu_runs(one_gpu())
    result = runs.plain(
        """
        STRANGER = 4_000_001

        @pytest.fixture
        def runner(gpu, llm_engine):
            held = llm_engine.deployment.look().runner
            gpu.set_process(UUID, ScriptedProcess(held.pid, used=2 * GIB))
            gpu.set_process(UUID, ScriptedProcess(STRANGER, used=GIB, name="desktop"))
            gpu.set(UUID, used=3 * GIB)
            time.sleep(1.5)  # the driver's list is read about once a second
            return held.pid

        @pytest.mark.memory_budget(peak="2 GiB", offload="100 %")
        def test_first(llm_client, llm_engine, runner):
            assert runner not in llm_engine.pids
            llm_client.generate("Hello", max_tokens=4)

        def test_loads_anew(llm_client, llm_engine, gpu):
            before = llm_engine.deployment.look().runner.pid
            llm_engine.unload()
            gpu.remove_process(UUID, before)
            llm_client.generate("Hello", max_tokens=4)
            assert llm_engine.deployment.look().runner.pid != before

        @pytest.mark.memory_budget(peak="2 GiB")
        def test_after_it(llm_client, runner):
            llm_client.generate("Hello", max_tokens=4)
        """,
        "--llmperf-busy-gpu=warn",
        *options,
    )
    result.assert_outcomes(passed=3)
    first, _, after = [measurement["devices"][0]["memory"] for measurement in runs.measurements]
    assert (first["attribution"], first["peak_bytes"]) == ("pids", 2 * GIB)
    assert (after["attribution"], after["peak_bytes"]) == ("pids", 2 * GIB)
