"""An engine that is started again finds the device as it was: the memory of the one before is back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.testing import GIB
from tests.gpu.gpu_runs import one_gpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.testing import Scenario
    from tests.gpu.gpu_runs import GpuRuns


def test_the_next_engine_starts_when_the_memory_of_the_last_is_back(gpu_runs: Callable[[Scenario], GpuRuns]) -> None:
    runs = gpu_runs(one_gpu())
    result = runs(
        """
        def test_again(llm_engine, llm_client, gpu):
            now = time.monotonic_ns()
            # Given back step by step for two seconds after the engine has ended.
            gpu.set(UUID, used=[(0, 4 * GIB), *((now + n * 400_000_000, (4 - n) * GIB) for n in range(1, 5))])
            llm_engine.restart()
            gpu.set(UUID, used=2 * GIB)
            assert llm_engine.memory()

        @pytest.mark.memory_budget(peak="3 GiB")
        def test_after_it(llm_client):
            assert llm_client.generate("x", max_tokens=4).text
        """
    )
    result.assert_outcomes(passed=2)
    memory = runs.measurements[1]["devices"][0]["memory"]
    # Against the level of a moment ago, 4 GiB, it would hold nothing.
    assert (memory["attribution"], memory["peak_bytes"]) == ("exclusive", 2 * GIB)


def test_memory_that_does_not_come_to_rest_is_told_of_with_who_holds_it(
    gpu_runs: Callable[[Scenario], GpuRuns],
) -> None:
    runs = gpu_runs(one_gpu())
    result = runs(
        """
        from functools import partialmethod
        from pytest_llmperf.telemetry.devices import Devices

        def test_again(llm_engine, gpu, monkeypatch):
            monkeypatch.setattr(Devices, "rest", partialmethod(Devices.rest, timeout_s=0.0))
            now = time.monotonic_ns()
            gpu.set_process(UUID, ScriptedProcess(4_000_001, used=3 * GIB, name="leftover"))
            # Up and down for a minute, longer than it takes to come to the wait.
            gpu.set(UUID, used=[(now + n * 400_000_000, (3 + n % 2) * GIB) for n in range(150)])
            llm_engine.restart()
        """
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["llmperf: warning: *NVIDIA L4 by 1.00 GiB*4000001 (leftover) 3.00 GiB*"])
