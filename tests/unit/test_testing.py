"""The scripted GPUs, asked through the real pynvml."""

from __future__ import annotations

import multiprocessing
import os
import threading
from typing import TYPE_CHECKING, Any

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
    ScriptedProcess,
    Spike,
    Throttle,
    scripted_nvml,
)
from tests.unit.watching import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.mark.structures import ParameterSet

SECOND = 10**9


@pytest.fixture
def gpu() -> ScriptedDevice:
    return ScriptedDevice()


@pytest.fixture
def scenario(gpu: ScriptedDevice) -> Scenario:
    return Scenario([gpu], now_ns=0)


@pytest.fixture
def nvml(scenario: Scenario) -> Iterator[NvmlDouble]:
    with scripted_nvml(scenario) as double:
        pynvml.nvmlInit()
        yield double


@pytest.fixture
def handle(nvml: NvmlDouble) -> Any:
    return pynvml.nvmlDeviceGetHandleByIndex(0)


def refusal(call: Any, *arguments: Any, **named: Any) -> int:
    """The error code that the call ends with."""
    with pytest.raises(pynvml.NVMLError) as caught:
        call(*arguments, **named)
    return int(caught.value.value)


def memory(handle: Any) -> tuple[int, int, int, int]:
    read = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    return read.total, read.reserved, read.free, read.used


def fields(handle: Any, *wanted: int) -> list[int | str]:
    """The value of each field, or the error in its place."""
    values = pynvml.nvmlDeviceGetFieldValues(handle, list(wanted))
    return [f"error {value.nvmlReturn}" if value.nvmlReturn else value.value.ullVal for value in values]


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
        codes = multiprocessing.get_context("fork").SimpleQueue()
        if (pid := os.fork()) == 0:
            try:
                first = refusal(pynvml.nvmlDeviceGetCount)
                pynvml.nvmlInit()
                codes.put((first, pynvml.nvmlDeviceGetCount()))
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert codes.get() == (pynvml.NVML_ERROR_UNINITIALIZED, 1)

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
