"""Memory budgets on a GPU, end to end: a spike of 5 ms, whose memory it was, and what was left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.testing import GIB, Delay, ScriptedDevice, ScriptedProcess
from tests.gpu.gpu_runs import MIB, UUID, one_gpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.testing import Scenario
    from tests.gpu.gpu_runs import GpuRuns

    Host = Callable[[Scenario], GpuRuns]

ONE_ANSWER = """
@pytest.mark.memory_budget(peak="3 GiB", growth="1 GiB")
def test_answer(on_gpu, llm_client):
    assert llm_client.generate("x", max_tokens=4).text
"""


def test_a_spike_of_five_milliseconds_breaks_a_budget_and_the_timeline_shows_it(gpu_runs: Host) -> None:
    runs = gpu_runs(one_gpu())
    result = runs(
        """
        @pytest.mark.memory_budget(peak="3 GiB", growth="1 GiB")
        def test_spike(on_gpu, llm_client):
            now = time.monotonic_ns()
            on_gpu.add_spike(UUID, Spike(now + 200_000_000, now + 205_000_000, 4 * GIB))
            assert llm_client.generate("x", max_tokens=4, simulate={"ttft": "400 ms"}).text
        """,
        "--llmperf-sample-hz=1000",  # so that on a busy machine, too, a reading falls into the spike
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "memory.peak 6.00 GiB > 3 GiB (margin -100 %) on NVIDIA L4 (and 1 more)",
            "memory.growth * 4.00 GiB * 1 GiB *FAIL",
            "memory * ▁▁*█*▁ from 2.00 GiB to 6.00 GiB over *; 2.00 GiB before;",
            "FAILED test_it.py::test_spike - BudgetExceeded: memory.peak 6.00 GiB > 3 GiB (margin -100 %) *",
        ]
    )
    (measured,) = runs.measurements
    (device,) = measured["devices"]
    assert device["memory"]["attribution"] == "pids"
    assert device["memory"]["peak_bytes"] == 6 * GIB
    assert [value for _, value in device["memory"]["timeline"]].count(6 * GIB) >= 1


def test_memory_of_others_on_the_device_is_not_the_engines(gpu_runs: Host) -> None:
    runs = gpu_runs(one_gpu(used=5 * GIB, processes=[ScriptedProcess(4_000_001, used=5 * GIB, name="trainer")]))
    result = runs(ONE_ANSWER.replace("on_gpu, ", "gpu, on_gpu, "), "--llmperf-busy-gpu=warn")
    result.assert_outcomes(passed=1)
    assert "4000001 (trainer) computes on NVIDIA L4" in result.stdout.str()


def test_an_engine_whose_pid_the_driver_does_not_list_has_what_rose_since_it_started(gpu_runs: Host) -> None:
    runs = gpu_runs(one_gpu(used=300 * MIB))
    result = runs(
        """
        @pytest.mark.memory_budget(peak="3 GiB")
        def test_answer(llm_engine, gpu, llm_client):
            gpu.set(UUID, used=2 * GIB + 300 * MIB)
            assert llm_client.generate("x", max_tokens=4).text
        """
    )
    result.assert_outcomes(passed=1)
    (measured,) = runs.measurements
    memory = measured["devices"][0]["memory"]
    assert (memory["attribution"], memory["peak_bytes"]) == ("exclusive", 2 * GIB)
    assert "no other process was on the device" in memory["source"]


def test_the_fullest_of_two_devices_counts_and_both_are_told_of(gpu_runs: Host) -> None:
    scenario = one_gpu()
    scenario.devices.append(ScriptedDevice(uuid="GPU-11111111", total=24 * GIB))
    runs = gpu_runs(scenario)
    result = runs(
        """
        @pytest.mark.memory_budget(peak="4 GiB")
        def test_answer(llm_engine, gpu, llm_client):
            for uuid, used in ((UUID, 2 * GIB), ("GPU-11111111", 5 * GIB)):
                gpu.set_process(uuid, ScriptedProcess(llm_engine.pids[0], used=used))
                gpu.set(uuid, used=used)
            assert llm_client.generate("x", max_tokens=4).text
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["memory.peak 5.00 GiB > 4 GiB (margin -25.0 %) on NVIDIA L4", "*, the fullest of 2: *"]
    )
    (measured,) = runs.measurements
    assert [device["memory"]["peak_bytes"] for device in measured["devices"]] == [2 * GIB, 5 * GIB]


@pytest.mark.parametrize(("selection", "uuid"), [("1", "GPU-11111111"), (UUID[:12], UUID)])
def test_only_the_devices_that_were_chosen_are_watched(gpu_runs: Host, selection: str, uuid: str) -> None:
    scenario = one_gpu()
    scenario.devices.append(ScriptedDevice(uuid="GPU-11111111", total=24 * GIB))
    runs = gpu_runs(scenario)
    runs(ONE_ANSWER.replace("on_gpu, ", ""), f"--llmperf-gpus={selection}").assert_outcomes(passed=1)
    (measured,) = runs.measurements
    assert [device["device"]["uuid"] for device in measured["devices"]] == [uuid]


def test_memory_that_is_not_given_back_is_retained(gpu_runs: Host) -> None:
    result = gpu_runs(one_gpu())(
        """
        @pytest.mark.memory_budget(retained="64 MiB")
        @pytest.mark.parametrize("left", [0, 512])
        def test_leaves(on_gpu, llm_client, left):
            assert llm_client.generate("x", max_tokens=4).text
            on_gpu.set(UUID, used=2 * GIB + left * MIB)
            on_gpu.set_process(UUID, ScriptedProcess(llm_client_pid(on_gpu), used=2 * GIB + left * MIB))

        def llm_client_pid(gpu):
            return PIDS[0]

        PIDS = []

        @pytest.fixture(autouse=True)
        def _pids(llm_engine):
            PIDS[:] = llm_engine.pids
        """
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["FAILED *512* - BudgetExceeded: memory.retained 512 MiB > 64 MiB (margin -700 %) on NVIDIA L4"]
    )


def test_memory_that_does_not_settle_is_not_measured_and_who_holds_it_is_named(gpu_runs: Host) -> None:
    result = gpu_runs(one_gpu())(
        """
        @pytest.mark.memory_budget(retained="64 MiB")
        def test_restless(on_gpu, llm_engine, llm_client):
            on_gpu.set_process(UUID, ScriptedProcess(llm_engine.pids[0], used=None))
            assert llm_client.generate("x", max_tokens=4).text
            now = time.monotonic_ns()
            for start in range(now, now + 12_000_000_000, 300_000_000):
                if (start - now) // 300_000_000 < 40:
                    on_gpu.add_spike(UUID, Spike(start, start + 150_000_000, GIB))
        """,
        "--llmperf-strict",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*memory.retained NOT MEASURED: *the memory still moved by *on the device: * of unknown size*"]
    )


@pytest.mark.parametrize("order", ["unload", "sleep"])
def test_unloaded_memory_is_what_is_left_after_unloading_or_falling_asleep(gpu_runs: Host, order: str) -> None:
    result = gpu_runs(one_gpu())(
        """
        @pytest.mark.memory_budget(unloaded="100 MiB")
        @pytest.mark.parametrize("left", [64, 128])
        def test_unload(on_gpu, llm_engine, llm_client, left):
            assert llm_client.generate("x", max_tokens=4).text
            on_gpu.set(UUID, used=left * MIB)
            on_gpu.set_process(UUID, ScriptedProcess(llm_engine.pids[0], used=left * MIB))
            llm_engine.{order}()
            assert llm_client.generate("x", max_tokens=4).text
        """.replace("{order}", order)
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["FAILED *128* - *: memory.unloaded 128 MiB > 100 MiB (margin -28.0 %) on NVIDIA L4"])


def test_idle_memory_is_that_of_all_loaded_models_and_of_each(gpu_runs: Host) -> None:
    runs = gpu_runs(one_gpu(used=4 * GIB, processes=[ScriptedProcess(4_000_001, used=4 * GIB, name="trainer")]))
    result = runs(
        """
        @pytest.mark.memory_budget(idle="4 GiB", unloaded="2 GiB")
        def test_two_models(llm_engine, llm_engine_factory, gpu, llm_client):
            other = llm_engine_factory("simulated", model="other", args={"device": "gpu"})
            gpu.set_process(UUID, ScriptedProcess(llm_engine.pids[0], used=2 * GIB))
            gpu.set_process(UUID, ScriptedProcess(other.pids[0], used=1 * GIB))
            gpu.set(UUID, used=7 * GIB)
            assert llm_client.generate("x", max_tokens=4).text
            sleep = other.deployment.sleep
            def free(level):
                sleep(level)
                gpu.set_process(UUID, ScriptedProcess(other.pids[0], used=0))
                gpu.set(UUID, used=6 * GIB)
            other.deployment.sleep = free
            other.sleep()
        """,
        "--llmperf-busy-gpu=warn",
    )
    result.assert_outcomes(passed=1)
    (measured,) = runs.measurements
    assert measured["readings"]["memory.idle"]["value"] == 3 * GIB
    assert measured["readings"]["memory.unloaded"]["value"] == 2 * GIB
    assert [part["readings"]["memory.idle"]["value"] for part in measured["parts"]] == [2 * GIB, 1 * GIB]


def test_a_device_without_memory_of_its_own_is_measured_in_the_hosts(gpu_runs: Host) -> None:
    runs = gpu_runs(one_gpu(unified=True, name="NVIDIA GB10"))
    result = runs(ONE_ANSWER.replace("on_gpu, ", ""), memory="64 MiB")
    result.assert_outcomes(passed=1)
    (measured,) = runs.measurements
    memory = measured["devices"][0]["memory"]
    assert memory["attribution"] == "unified"
    assert "has no memory of its own" in memory["source"]


def test_a_peak_that_may_be_of_others_is_not_measured(gpu_runs: Host) -> None:
    result = gpu_runs(one_gpu(used=GIB, processes=[ScriptedProcess(4_000_001, used=GIB, name="trainer")]))(
        """
        @pytest.mark.memory_budget(peak="3 GiB")
        def test_disturbed(on_gpu, llm_client):
            on_gpu.set(UUID, used=6 * GIB)
            on_gpu.set_process(UUID, ScriptedProcess(4_000_001, used=4 * GIB, name="trainer"))
            assert llm_client.generate("x", max_tokens=4).text
        """,
        "--llmperf-strict",
        "--llmperf-busy-gpu=warn",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["memory.peak NOT MEASURED: *other processes allocated or freed memory *"])


def test_a_driver_that_answers_slowly_is_asked_less_often(gpu_runs: Host) -> None:
    scenario = one_gpu()
    scenario.delays.append(Delay("nvmlDeviceGetMemoryInfo_v2", 2_000_000))
    runs = gpu_runs(scenario)
    runs(
        """
        @pytest.mark.memory_budget(peak="3 GiB")
        def test_answer(on_gpu, llm_client):
            assert llm_client.generate("x", max_tokens=4, simulate={"ttft": "2 s"}).text
        """
    ).assert_outcomes(passed=1)
    # 2 ms a call and 0.7 % of the time at the most: 3.5 a second, instead of 200.
    assert runs.measurements[0]["devices"][0]["memory"]["samples"] < 40
