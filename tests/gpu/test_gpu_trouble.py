"""A driver that hangs, a lost device, no right to look: a clear sentence each, never a pass, never a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.testing import Fault
from tests.gpu.gpu_runs import UUID, one_gpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.testing import Scenario
    from tests.gpu.gpu_runs import GpuRuns

    Host = Callable[[Scenario], GpuRuns]

ANSWER = """
@pytest.mark.memory_budget(peak="3 GiB")
def test_answer(llm_client):
    assert llm_client.generate("x", max_tokens=4).text
"""
INIT = "nvmlInit_v2"


@pytest.mark.parametrize("function", ["nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetFieldValues"])
def test_a_call_that_hangs_makes_the_numbers_not_measured_and_pytest_goes_on(gpu_runs: Host, function: str) -> None:
    runs = gpu_runs(one_gpu())
    result = runs(
        f"""
        @pytest.mark.memory_budget(peak="3 GiB")
        @pytest.mark.energy_budget(total="1 kJ")
        def test_hangs(on_gpu, llm_client):
            on_gpu.hang({function!r})
            assert llm_client.generate("x", max_tokens=4, simulate={{"ttft": "1.5 s"}}).text

        @pytest.mark.memory_budget(peak="3 GiB")
        def test_after_it(llm_client):
            assert llm_client.generate("x", max_tokens=4).text
        """,
        "--llmperf-strict",
    )
    runs.live.clear_delays()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*NOT MEASURED: *the driver hangs: nvmlDeviceGet* has not returned for *"])
    assert "INTERNALERROR" not in result.stdout.str()


def test_a_device_that_is_lost_during_a_test_makes_its_memory_invalid(gpu_runs: Host) -> None:
    result = gpu_runs(one_gpu())(
        """
        @pytest.mark.memory_budget(peak="3 GiB")
        def test_loses_it(on_gpu, llm_client):
            on_gpu.add_fault(Fault("*", 15))
            assert llm_client.generate("x", max_tokens=4, simulate={"ttft": "300 ms"}).text
        """,
        "--llmperf-strict",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["memory.peak INVALID: *NVIDIA L4*lost*"])


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault(INIT, 9), "not loaded"),
        (Fault(INIT, 18), "reboot"),
        (Fault(INIT, 4), "may not talk to the NVIDIA driver"),
        (Fault(INIT, 999), "container"),
        (Fault("nvmlDeviceGetMemoryInfo_v2", 4), "may not read the memory level"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.function}-{value.code}",
)
def test_what_keeps_memory_from_being_read_is_the_reason_of_the_verdict(
    gpu_runs: Host, fault: Fault, sentence: str
) -> None:
    scenario = one_gpu()
    scenario.faults.append(fault)
    result = gpu_runs(scenario)(ANSWER, "--llmperf-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*memory.peak NOT MEASURED: *{sentence}*"])
    assert "Traceback" not in result.stdout.str()


def test_without_the_library_an_engine_that_needs_a_gpu_says_so(
    gpu_runs: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = gpu_runs(one_gpu())
    monkeypatch.setenv("LD_LIBRARY_PATH", "")
    result = runs(ANSWER, "--llmperf-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*memory.peak NOT MEASURED: *libnvidia-ml.so.1*"])


def test_a_driver_older_than_the_second_memory_call_is_read_by_the_first(gpu_runs: Host) -> None:
    scenario = one_gpu(used=2 * 2**30)
    scenario.faults.append(Fault("nvmlDeviceGetMemoryInfo_v2", 13))
    runs = gpu_runs(scenario)
    runs(ANSWER.replace("llm_client)", "llm_client, on_gpu)")).assert_outcomes(passed=1)
    memory = runs.measurements[0]["devices"][0]["memory"]
    assert memory["source"].startswith("NVML memory v1")


def test_the_process_list_may_be_forbidden_and_memory_is_then_what_rose(gpu_runs: Host) -> None:
    scenario = one_gpu()
    scenario.faults.append(Fault("nvmlDeviceGetComputeRunningProcesses_v3", 4, device=UUID))
    runs = gpu_runs(scenario)
    runs(ANSWER.replace("llm_client)", "llm_client, on_gpu)")).assert_outcomes(passed=1)
    assert runs.measurements[0]["devices"][0]["memory"]["attribution"] == "rise"
