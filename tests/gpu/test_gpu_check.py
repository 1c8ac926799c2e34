"""``scripts/gpu-check`` on scripted GPUs, with a scripted CUDA: what it finds out, and when it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.measurement.device_trace import DeviceProcess
from pytest_llmperf.testing import Delay, Fault, Scenario, ScriptedProcess
from scripts.gpu_check.figures import median_and_p99
from scripts.gpu_check.perturbation import interleave
from scripts.gpu_check.pids import find
from tests.gpu.fake_library import LiveScenario, build_cuda
from tests.gpu.gpu_runs import MIB, ROOT, UUID, one_gpu

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Check = Callable[..., tuple[int, str]]

QUICK = ("--seconds=0.5", "--pairs=1", "--calls=20")


@pytest.fixture
def check(fake_library: Path, library_folder: Path, tmp_path: Path) -> Check:
    """``check(scenario, *options)``: the status and the output of a run on such a host."""

    def run(scenario: Scenario, *options: str, cuda: bool = True) -> tuple[int, str]:
        live = LiveScenario.create(tmp_path / "scenario", scenario)
        libraries = [fake_library, *([build_cuda(library_folder)] if cuda else [])]
        return run_check(live.environment(*libraries), *QUICK, *options)

    return run


def run_check(environment: dict[str, str], *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "scripts.gpu_check", *options]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=240)
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout


def figures(output: str) -> dict[str, str]:
    """The block at the end."""
    rows = [line.strip("| ").split(" | ") for line in output.split("== The figures\n")[1].splitlines()[2:]]
    return dict(row for row in rows if len(row) == 2)


def milliseconds(figure: str) -> float:
    return float(figure.split(" ms")[0])


def test_a_whole_run_ends_with_a_block_of_figures_and_the_tests_of_real_gpus(check: Check) -> None:
    status, output = check(one_gpu(reserved=300 * MIB))
    assert status == 0, output
    assert "5 passed" in output
    found = figures(output)
    assert found["driver"] == "580.95.05"
    assert found["device 0"] == f"NVIDIA L4, {UUID}, 24576 MiB (this one is checked)"
    assert found["memory is read by"] == "NVML memory v2"
    assert found["memory v2"].endswith("reserved 300 MiB, used 300 MiB; `used` leaves out `reserved`")
    assert found["memory v1"] == "total 24576 MiB, free 23976 MiB, used 600 MiB"
    assert found["512 MiB held and freed"].startswith("level +512 MiB, then -512 MiB; v2 used +512 MiB")
    assert found["a process of ours"] == "listed under its own pid, with 364 MiB"
    assert milliseconds(found["energy counter moves every"]) == pytest.approx(100, rel=0.2)
    assert " 30 W by instant power: ratio 1.0" in found["energy over 0.4 s, copying"]
    assert "1 pairs" in found["sampling at 200 Hz, allocation"]
    assert "ratio" in found["sampling at 200 Hz, kernel"]


def test_who_is_on_the_device_and_what_each_call_of_the_driver_costs(check: Check) -> None:
    scenario = one_gpu(used=MIB, processes=[ScriptedProcess(4_000_001, used=MIB, name="trainer")])
    scenario.delays.append(Delay("nvmlDeviceGetComputeRunningProcesses_v3", 4_000_000))
    status, output = check(scenario, "--no-tests")
    assert status == 0, output
    assert "warning: 4000001 (trainer) computes on it" in output
    found = figures(output)
    processes = found["processes: `nvmlDeviceGetComputeRunningProcesses_v3`"]
    assert float(processes.split(" µs")[0]) >= 4000
    assert float(processes.split(", ")[2].split(" %")[0]) >= 0.4
    asked = {what.split("`")[1] for what in found if "`nvml" in what}
    assert asked == {
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetMPSComputeRunningProcesses_v3",
        "nvmlSystemGetProcessName",
    }


def test_a_driver_with_its_own_ways_is_described_as_it_is(check: Check) -> None:
    scenario = one_gpu(reserved=300 * MIB, used=MIB, energy_percent=50, energy_tick_ns=20_000_000)
    scenario.v2_used_includes_reserved = True
    scenario.faults.append(Fault("nvmlDeviceGetUtilizationRates", 3))
    status, output = check(scenario, "--no-tests")
    assert status == 0, output
    found = figures(output)
    assert found["memory v2"].endswith("`used` includes `reserved`")
    assert milliseconds(found["energy counter moves every"]) == pytest.approx(20, rel=0.2)
    assert "ratio 0.5" in found["energy over 0.5 s, idle"]
    assert "state: `nvmlDeviceGetUtilizationRates`" not in found


def test_without_a_counter_and_without_the_second_memory_call_it_says_so(check: Check) -> None:
    scenario = one_gpu(energy_tick_ns=None)
    scenario.faults.append(Fault("nvmlDeviceGetMemoryInfo_v2", 13))
    status, output = check(scenario, "--no-tests")
    assert status == 0, output
    found = figures(output)
    assert found["memory is read by"] == "NVML memory v1"
    assert found["memory v2"] == "refused with NVML error 13"
    assert "memory: `nvmlDeviceGetMemoryInfo`" in found
    assert found["energy counter"].endswith("the driver gives no energy counter")
    assert found["not read"] == found["energy counter"]


def test_an_engine_may_be_the_load(check: Check) -> None:
    status, output = check(one_gpu(), "--no-tests", "--engine=simulated", "--engine-arg=tpot=2 ms")
    assert status == 0, output
    assert "1 pairs" in figures(output)["sampling at 200 Hz, the time between tokens of simulated"]


def test_without_cuda_the_rest_is_found_out_and_the_status_says_that_not_all_is_well(check: Check) -> None:
    status, output = check(one_gpu(), cuda=False)
    assert status == 1
    found = figures(output)
    assert found["memory v1"] == "total 24576 MiB, free 24576 MiB, used 0 MiB"
    assert found["problem"]
    assert "PROBLEM: CUDA's driver library libcuda.so.1 is not found: a container needs the `compute` cap" in output
    assert "PROBLEM: tests/gpu/test_real_gpu.py ended with status 1" in output


def test_a_call_that_cuda_refuses_is_named(check: Check) -> None:
    status, output = check(one_gpu(used=24 * 1024 * MIB - 400 * MIB), "--no-tests")
    assert status == 1
    assert "PROBLEM: cuMemAlloc_v2 failed: CUDA_ERROR_OUT_OF_MEMORY" in output


def test_without_a_driver_it_is_one_sentence_and_status_2() -> None:
    status, output = run_check({"LD_LIBRARY_PATH": ""})
    if status != 2:
        pytest.skip("this machine has an NVIDIA driver")
    assert output.startswith("There is no GPU to check: there is no NVIDIA driver here")
    assert output.count("\n") == 1


def test_a_gpu_that_is_not_there_is_one_sentence_and_status_2(check: Check) -> None:
    assert check(one_gpu(), "--gpu=GPU-ffff") == (
        2,
        "There is no GPU to check: no GPU of this machine is one of 'GPU-ffff'\n",
    )


# ------------------------------------------------------------------------------------------------------ its parts


@pytest.mark.parametrize(
    ("processes", "attribution", "sentence"),
    [
        ([DeviceProcess(os.getpid(), "", 5 * MIB)], "pids", "listed under its own pid, with 5 MiB"),
        ([DeviceProcess(os.getpid())], None, "listed under its own pid, with an unknown size"),
        ([], None, "the list is empty although a process of ours computes: pids cannot be matched"),
        (
            [DeviceProcess(1, "", MIB), DeviceProcess(4_000_001, "", MIB)],
            None,
            "not among the 2 listed; 1 of another pid namespace, perhaps ours: pids cannot be matched",
        ),
    ],
    ids=["its own pid", "no size", "an empty list", "another namespace"],
)
def test_how_a_process_is_found(processes: list[DeviceProcess], attribution: str | None, sentence: str) -> None:
    assert find(processes, os.getpid()) == (attribution, sentence)


def test_loads_run_without_and_with_sampling_in_turn_and_ratios_are_of_pairs() -> None:
    states: list[bool] = [False]
    run: list[bool] = []

    def load(seconds: float) -> dict[str, list[float]]:
        assert seconds == 3
        run.append(states[-1])
        drift = 10.0 ** len(run)
        return {"step": [drift * (1.5 if states[-1] else 1.0)] * 100}

    effect = interleave(load, states.append, pairs=2, seconds=3)["step"]
    assert run == [False, False, True, True, False]
    assert states[-1] is False
    assert effect.off == [(1e2, 1e2), (1e5, 1e5)]
    assert effect.on == [(1.5e3, 1.5e3), (1.5e4, 1.5e4)]
    assert str(effect).startswith("median 50.0 to 8.2 µs, ratio 7.575; p99 ")
    assert str(effect).endswith("; 2 pairs, n = 400")


def test_the_99th_percentile_is_by_nearest_rank() -> None:
    assert median_and_p99([float(n) for n in range(1, 101)]) == (50.5, 99.0)
    assert median_and_p99([float(n) for n in range(1, 201)]) == (100.5, 198.0)
    assert median_and_p99([3.0, 1.0, 2.0]) == (2.0, 3.0)
