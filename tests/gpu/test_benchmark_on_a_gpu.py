"""pytest-benchmark on a GPU: its machine_info names the device, so that runs on different ones are told apart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.testing import GIB
from tests.gpu.gpu_runs import one_gpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.testing import Scenario
    from tests.gpu.gpu_runs import GpuRuns

pytest.importorskip("pytest_benchmark")


def test_the_saved_run_names_kind_and_size_of_the_device(
    gpu_runs: Callable[[Scenario], GpuRuns], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    result = gpu_runs(one_gpu())(
        """
        @pytest.mark.memory_budget(peak="3 GiB")
        def test_answer(benchmark, on_gpu, llm_client):
            assert benchmark.pedantic(llm_client.generate, args=("x",), kwargs={"max_tokens": 2}).text
        """,
        *("-p", "benchmark"),
        "--benchmark-json=out.json",
    )
    result.assert_outcomes(passed=1)
    content = json.loads((pytester.path / "out.json").read_text(encoding="utf-8"))
    [device] = content["machine_info"]["llmperf"]["devices"]
    assert device == {"name": "NVIDIA L4", "memory_bytes": pytest.approx(24 * GIB, rel=0.1)}
    [benchmark] = content["benchmarks"]
    assert benchmark["extra_info"]["llmperf"]["readings"]["memory.peak"]["value"] == 2 * GIB
