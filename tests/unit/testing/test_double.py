"""The stand-in for the library: installed and removed, failing and hanging as scripted."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from typing import Any

import pynvml
import pytest

from pytest_llmperf.testing import (
    ANY,
    FOREVER,
    GIB,
    Delay,
    Fault,
    NvmlDouble,
    Scenario,
    ScriptedDevice,
    ScriptedInstance,
    scripted_nvml,
)
from tests.helpers.asking import fields, memory, refusal
from tests.helpers.waiting import PATIENCE_S, until


class TestInstallation:
    def test_pynvml_is_as_before_afterwards(self, scenario: Scenario) -> None:
        before = pynvml.nvmlLib, dict(pynvml._nvmlGetFunctionPointer_cache)
        with scripted_nvml(scenario):
            pynvml.nvmlInit()
        assert (pynvml.nvmlLib, pynvml._nvmlGetFunctionPointer_cache) == before

    def test_a_scenario_inside_another_hides_it(self, nvml: NvmlDouble) -> None:
        with scripted_nvml(Scenario([])):
            pynvml.nvmlInit()
            assert pynvml.nvmlDeviceGetCount() == 0
        assert pynvml.nvmlDeviceGetCount() == 1

    def test_nothing_answers_before_init_nor_after_the_last_shutdown(self, scenario: Scenario) -> None:
        with scripted_nvml(scenario):
            assert refusal(pynvml.nvmlDeviceGetCount) == pynvml.NVML_ERROR_UNINITIALIZED
            pynvml.nvmlInit()
            pynvml.nvmlInit()
            pynvml.nvmlShutdown()
            assert pynvml.nvmlDeviceGetCount() == 1
            pynvml.nvmlShutdown()
            assert refusal(pynvml.nvmlDeviceGetCount) == pynvml.NVML_ERROR_UNINITIALIZED

    def test_a_forked_process_must_init_again(self, nvml: NvmlDouble) -> None:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        if (pid := os.fork()) == 0:
            try:
                first = refusal(pynvml.nvmlDeviceGetCount)
                pynvml.nvmlInit()
                sender.send((first, pynvml.nvmlDeviceGetCount()))
            finally:
                os._exit(0)
        assert receiver.poll(PATIENCE_S)
        os.waitpid(pid, 0)
        assert receiver.recv() == (pynvml.NVML_ERROR_UNINITIALIZED, 1)

    def test_functions_can_be_bound_and_typed_like_those_of_ctypes(self, nvml: NvmlDouble, handle: Any) -> None:
        read = pynvml.nvmlLib.nvmlDeviceGetMemoryInfo
        read.argtypes = [pynvml.c_nvmlDevice_t, pynvml.POINTER(pynvml.c_nvmlMemory_t)]
        info = pynvml.c_nvmlMemory_t()
        assert read(handle, pynvml.pointer(info)) == 0
        assert info.total == 24 * GIB

    def test_errors_have_words(self, nvml: NvmlDouble) -> None:
        assert pynvml.nvmlErrorString(pynvml.NVML_ERROR_GPU_IS_LOST) == "GPU is lost"
        assert pynvml.nvmlErrorString(4711) == "Unknown Error"

    def test_calls_are_counted(self, nvml: NvmlDouble, handle: Any) -> None:
        memory(handle)
        memory(handle)
        assert nvml.calls["nvmlDeviceGetMemoryInfo_v2"] == 2
        assert nvml.calls["nvmlInit_v2"] == 1


class TestFaults:
    @pytest.mark.parametrize("code", [4, 9, 18, 28, 999])
    def test_init_can_fail_with_any_error(self, code: int) -> None:
        with scripted_nvml(Scenario(faults=[Fault("nvmlInit_v2", code)])):
            assert refusal(pynvml.nvmlInit) == code

    def test_a_fault_waits_for_its_calls_and_ends(self, scenario: Scenario, handle: Any) -> None:
        scenario.faults.append(Fault("nvmlDeviceGetPowerUsage", pynvml.NVML_ERROR_UNKNOWN, after=1, times=2))
        outcomes = []
        for _ in range(4):
            try:
                outcomes.append(pynvml.nvmlDeviceGetPowerUsage(handle))
            except pynvml.NVMLError_Unknown:
                outcomes.append(None)
        assert outcomes == [30_000, None, None, 30_000]

    def test_a_fault_waits_for_its_time(self, scenario: Scenario, handle: Any) -> None:
        scenario.faults.append(Fault("nvmlDeviceGetPowerUsage", pynvml.NVML_ERROR_TIMEOUT, at_ns=50))
        assert pynvml.nvmlDeviceGetPowerUsage(handle) == 30_000
        scenario.now_ns = 50
        assert refusal(pynvml.nvmlDeviceGetPowerUsage, handle) == pynvml.NVML_ERROR_TIMEOUT

    def test_a_gpu_falls_off_the_bus_with_its_instances_while_the_other_goes_on(self) -> None:
        lost = ScriptedDevice(mig=[ScriptedInstance(uuid="MIG-1")])
        scenario = Scenario([lost, ScriptedDevice()])
        with scripted_nvml(scenario):
            pynvml.nvmlInit()
            handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in (0, 1)]
            instance = pynvml.nvmlDeviceGetHandleByUUID("MIG-1")
            scenario.faults.append(Fault(ANY, pynvml.NVML_ERROR_GPU_IS_LOST, lost.uuid))
            assert refusal(memory, handles[0]) == pynvml.NVML_ERROR_GPU_IS_LOST
            assert refusal(memory, instance) == pynvml.NVML_ERROR_GPU_IS_LOST
            assert refusal(pynvml.nvmlDeviceGetHandleByIndex, 0) == pynvml.NVML_ERROR_GPU_IS_LOST
            assert memory(handles[1])[0] == 24 * GIB
            assert pynvml.nvmlDeviceGetCount() == 2

    def test_a_single_field_can_fail(self, scenario: Scenario, handle: Any) -> None:
        scenario.faults.append(Fault("field:186", pynvml.NVML_ERROR_NOT_SUPPORTED, times=1))
        assert fields(handle, 186, 185) == ["error 3", 30_000]
        assert fields(handle, 186, 185) == [30_000, 30_000]

    @pytest.mark.parametrize("scripted", [lambda name: Fault(name, 3), lambda name: Delay(name, 1)])
    def test_a_function_that_does_not_exist_is_refused(self, scripted: Any) -> None:
        with pytest.raises(ValueError, match=r"no scripted function nvmlDeviceGetPower$"):
            scripted("nvmlDeviceGetPower")


class TestDelays:
    def test_a_call_hangs_until_it_is_let_go(self, scenario: Scenario, nvml: NvmlDouble, handle: Any) -> None:
        scenario.delays.append(Delay("nvmlDeviceGetPowerUsage", FOREVER))
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(pynvml.nvmlDeviceGetPowerUsage(handle)))
        thread.start()
        until(lambda: nvml.calls["nvmlDeviceGetPowerUsage"] == 1)
        assert memory(handle)[0] == 24 * GIB
        assert answers == []
        scenario.delays.clear()
        thread.join(PATIENCE_S)
        assert answers == [30_000]

    def test_the_end_of_the_scenario_lets_go_of_what_hangs(self, scenario: Scenario) -> None:
        scenario.delays.append(Delay("nvmlDeviceGetCount_v2", FOREVER))
        codes: list[int] = []
        with scripted_nvml(scenario) as nvml:
            pynvml.nvmlInit()
            thread = threading.Thread(target=lambda: codes.append(refusal(pynvml.nvmlDeviceGetCount)))
            thread.start()
            until(lambda: nvml.calls["nvmlDeviceGetCount_v2"] == 1)
        thread.join(PATIENCE_S)
        assert codes == [pynvml.NVML_ERROR_UNKNOWN]

    @pytest.mark.parametrize("spin", [False, True])
    def test_a_call_takes_at_least_its_delay(self, scenario: Scenario, handle: Any, spin: bool) -> None:
        scenario.delays.append(Delay(ANY, 2_000_000, spin))
        before = time.monotonic_ns()
        pynvml.nvmlDeviceGetPowerUsage(handle)
        assert time.monotonic_ns() - before >= 2_000_000
