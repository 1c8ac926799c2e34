"""What the scripted GPUs are, hold and list, asked through the real pynvml."""

from __future__ import annotations

from typing import Any

import pynvml
import pytest

from pytest_llmperf.testing import (
    FOREVER,
    GIB,
    NvmlDouble,
    Scenario,
    ScriptedDevice,
    ScriptedInstance,
    ScriptedProcess,
    Spike,
    scripted_nvml,
)
from tests.helpers.asking import fields, memory, refusal

SECOND = 10**9


class TestIdentity:
    def test_devices_are_found_by_index_uuid_and_pci_id(self, nvml: NvmlDouble, gpu: ScriptedDevice) -> None:
        by_index = pynvml.nvmlDeviceGetHandleByIndex(0)
        assert pynvml.nvmlDeviceGetUUID(by_index) == gpu.uuid
        by_uuid = pynvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
        by_pci = pynvml.nvmlDeviceGetHandleByPciBusId("0000:01:00.0")
        assert [pynvml.nvmlDeviceGetName(handle) for handle in (by_uuid, by_pci)] == ["NVIDIA L4"] * 2
        assert pynvml.nvmlDeviceGetPciInfo(by_uuid).busId == "00000000:01:00.0"

    def test_a_prefix_of_a_uuid_finds_nothing(self, nvml: NvmlDouble, gpu: ScriptedDevice) -> None:
        assert refusal(pynvml.nvmlDeviceGetHandleByUUID, gpu.uuid[:-1]) == pynvml.NVML_ERROR_NOT_FOUND

    def test_an_index_beyond_the_last_is_an_invalid_argument(self, nvml: NvmlDouble) -> None:
        assert refusal(pynvml.nvmlDeviceGetHandleByIndex, 1) == pynvml.NVML_ERROR_INVALID_ARGUMENT

    def test_an_invented_handle_is_an_invalid_argument(self, nvml: NvmlDouble) -> None:
        assert refusal(pynvml.nvmlDeviceGetName, pynvml.c_nvmlDevice_t()) == pynvml.NVML_ERROR_INVALID_ARGUMENT

    def test_two_devices_with_one_uuid_are_refused(self) -> None:
        with pytest.raises(ValueError, match="the same UUID"):
            Scenario([ScriptedDevice(uuid="GPU-1"), ScriptedDevice(uuid="GPU-1")])

    def test_versions_are_those_of_the_scenario(self, nvml: NvmlDouble) -> None:
        assert pynvml.nvmlSystemGetDriverVersion() == "580.95.05"
        assert pynvml.nvmlSystemGetNVMLVersion() == "13.580.95.05"
        assert pynvml.nvmlSystemGetCudaDriverVersion() == pynvml.nvmlSystemGetCudaDriverVersion_v2() == 13_000


class TestMemory:
    def test_the_second_version_keeps_reserved_memory_apart(self, gpu: ScriptedDevice, handle: Any) -> None:
        gpu.used, gpu.reserved = 3 * GIB, GIB
        assert memory(handle) == (24 * GIB, GIB, 20 * GIB, 3 * GIB)

    def test_the_first_version_counts_it_as_used(self, gpu: ScriptedDevice, handle: Any) -> None:
        gpu.used, gpu.reserved = 3 * GIB, GIB
        first = pynvml.nvmlDeviceGetMemoryInfo(handle)
        assert (first.total, first.free, first.used) == (24 * GIB, 20 * GIB, 4 * GIB)

    def test_some_drivers_count_it_as_used_in_the_second_version_too(
        self, scenario: Scenario, gpu: ScriptedDevice, handle: Any
    ) -> None:
        gpu.used, gpu.reserved = 3 * GIB, GIB
        scenario.v2_used_includes_reserved = True
        assert memory(handle) == (24 * GIB, GIB, 20 * GIB, 4 * GIB)

    def test_steps_and_spikes_follow_the_clock(self, scenario: Scenario, gpu: ScriptedDevice, handle: Any) -> None:
        gpu.used = [(10, 100), (20, 300)]
        gpu.spikes.append(Spike(30, 40, 5_000))
        seen = {}
        for scenario.now_ns in (0, 10, 19, 20, 29, 30, 39, 40):
            seen[scenario.now_ns] = memory(handle)[3]
        assert seen == {0: 100, 10: 100, 19: 100, 20: 300, 29: 300, 30: 5_300, 39: 5_300, 40: 300}

    def test_no_more_is_used_than_there_is(self, gpu: ScriptedDevice, handle: Any) -> None:
        gpu.used, gpu.reserved = 30 * GIB, GIB
        assert memory(handle) == (24 * GIB, GIB, 0, 23 * GIB)

    def test_steps_out_of_order_are_refused(self) -> None:
        with pytest.raises(ValueError, match="steps of used are not in the order of time"):
            Scenario([ScriptedDevice(used=[(20, 1), (10, 2)])])

    def test_another_version_of_the_structure_is_a_mismatch(self, handle: Any) -> None:
        code = refusal(pynvml.nvmlDeviceGetMemoryInfo, handle, version=1)
        assert code == pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH

    def test_unified_memory_is_not_supported_in_either_version(self, gpu: ScriptedDevice, handle: Any) -> None:
        gpu.name, gpu.unified = "NVIDIA GB10", True
        assert refusal(pynvml.nvmlDeviceGetMemoryInfo, handle) == pynvml.NVML_ERROR_NOT_SUPPORTED
        assert refusal(memory, handle) == pynvml.NVML_ERROR_NOT_SUPPORTED

    def test_an_old_driver_has_no_second_version(self) -> None:
        with scripted_nvml(Scenario([ScriptedDevice()], driver_version="470.57.02")) as double:
            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByIndex(0)
            assert refusal(memory, handle) == pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
            assert not hasattr(double, "nvmlDeviceGetMemoryInfo_v2")
            assert pynvml.nvmlDeviceGetMemoryInfo(handle).total == 24 * GIB

    def test_the_clock_is_the_monotonic_one_where_the_scenario_has_none(
        self, scenario: Scenario, gpu: ScriptedDevice, handle: Any
    ) -> None:
        scenario.now_ns = None
        gpu.used = [(0, 1), (1, 2), (FOREVER, 3)]
        assert memory(handle)[3] == 2


class TestProcesses:
    def test_only_the_living_of_the_kind_that_was_asked_for_are_listed(
        self, scenario: Scenario, gpu: ScriptedDevice, handle: Any
    ) -> None:
        gpu.processes = [
            ScriptedProcess(10, 3 * GIB, end_ns=50),
            ScriptedProcess(11, None, start_ns=20),
            ScriptedProcess(12, GIB, "graphics"),
            ScriptedProcess(13, GIB, "mps"),
        ]
        scenario.now_ns = 20
        listed = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        assert [(process.pid, process.usedGpuMemory) for process in listed] == [(10, 3 * GIB), (11, None)]
        assert [process.pid for process in pynvml.nvmlDeviceGetGraphicsRunningProcesses(handle)] == [12]
        assert [process.pid for process in pynvml.nvmlDeviceGetMPSComputeRunningProcesses(handle)] == [13]
        scenario.now_ns = 50
        assert [process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)] == [11]

    def test_a_list_takes_two_calls_unless_it_is_empty(
        self, gpu: ScriptedDevice, nvml: NvmlDouble, handle: Any
    ) -> None:
        assert pynvml.nvmlDeviceGetComputeRunningProcesses(handle) == []
        gpu.processes.append(ScriptedProcess(10, 1))
        assert len(pynvml.nvmlDeviceGetComputeRunningProcesses(handle)) == 1
        assert nvml.calls["nvmlDeviceGetComputeRunningProcesses_v3"] == 3

    def test_a_list_that_is_too_short_is_told_how_long_it_must_be(
        self, gpu: ScriptedDevice, nvml: NvmlDouble, handle: Any
    ) -> None:
        gpu.processes = [ScriptedProcess(pid, 1) for pid in (10, 11, 12)]
        count, infos = pynvml.c_uint(2), (pynvml.c_nvmlProcessInfo_v2_t * 2)()
        code = pynvml.nvmlLib.nvmlDeviceGetComputeRunningProcesses_v3(handle, pynvml.byref(count), infos)
        assert (code, count.value) == (pynvml.NVML_ERROR_INSUFFICIENT_SIZE, 3)

    def test_processes_have_names(self, gpu: ScriptedDevice, nvml: NvmlDouble) -> None:
        gpu.processes = [ScriptedProcess(10, 1, name="VLLM::EngineCore")]
        assert pynvml.nvmlSystemGetProcessName(10) == "VLLM::EngineCore"
        assert refusal(pynvml.nvmlSystemGetProcessName, 11) == pynvml.NVML_ERROR_NOT_FOUND

    def test_accounting_knows_the_peak_of_a_process_that_has_ended(
        self, scenario: Scenario, gpu: ScriptedDevice, handle: Any
    ) -> None:
        gpu.processes = [ScriptedProcess(10, 5, peak=9, end_ns=2_000_000)]
        assert refusal(pynvml.nvmlDeviceGetAccountingStats, handle, 10) == pynvml.NVML_ERROR_NOT_SUPPORTED
        gpu.accounting, scenario.now_ns = True, SECOND
        assert pynvml.nvmlDeviceGetAccountingMode(handle) == pynvml.NVML_FEATURE_ENABLED
        stats = pynvml.nvmlDeviceGetAccountingStats(handle, 10)
        assert (stats.maxMemoryUsage, stats.isRunning, stats.time) == (9, 0, 2)
        assert refusal(pynvml.nvmlDeviceGetAccountingStats, handle, 11) == pynvml.NVML_ERROR_NOT_FOUND


class TestMig:
    @pytest.fixture
    def instance(self, gpu: ScriptedDevice, nvml: NvmlDouble) -> Any:
        gpu.mig = [
            ScriptedInstance(uuid="MIG-1", used=GIB, processes=[ScriptedProcess(10, 1)], gpu_instance=3),
            ScriptedInstance(uuid="MIG-2", used=2 * GIB, processes=[ScriptedProcess(11, 2)], gpu_instance=4),
        ]
        return pynvml.nvmlDeviceGetHandleByUUID("MIG-2")

    def test_a_gpu_has_no_mig_or_has_it_off_or_on(self, gpu: ScriptedDevice, handle: Any) -> None:
        assert refusal(pynvml.nvmlDeviceGetMigMode, handle) == pynvml.NVML_ERROR_NOT_SUPPORTED
        gpu.mig = []
        assert pynvml.nvmlDeviceGetMigMode(handle) == [0, 0]
        gpu.mig = [ScriptedInstance(uuid="MIG-1")]
        assert pynvml.nvmlDeviceGetMigMode(handle) == [1, 1]

    def test_instances_are_found_from_their_gpu_which_is_found_from_them(self, instance: Any, handle: Any) -> None:
        assert pynvml.nvmlDeviceGetCount() == 1
        assert pynvml.nvmlDeviceGetMaxMigDeviceCount(handle) == 7
        found = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, 1)
        assert pynvml.nvmlDeviceGetUUID(found) == "MIG-2"
        assert refusal(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, 2) == pynvml.NVML_ERROR_NOT_FOUND
        assert pynvml.nvmlDeviceIsMigDeviceHandle(instance).value == 1
        assert pynvml.nvmlDeviceIsMigDeviceHandle(handle).value == 0
        parent = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instance)
        assert pynvml.nvmlDeviceGetUUID(parent) == pynvml.nvmlDeviceGetUUID(handle)

    def test_an_instance_has_memory_and_processes_of_its_own(self, instance: Any, handle: Any) -> None:
        assert memory(instance) == (5 * GIB, 0, 3 * GIB, 2 * GIB)
        (process,) = pynvml.nvmlDeviceGetComputeRunningProcesses(instance)
        assert (process.pid, process.gpuInstanceId, process.computeInstanceId) == (11, 4, 0)
        assert [process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)] == [10, 11]

    def test_the_sensors_belong_to_the_whole_gpu(self, instance: Any) -> None:
        for read in (
            pynvml.nvmlDeviceGetUtilizationRates,
            pynvml.nvmlDeviceGetPowerUsage,
            pynvml.nvmlDeviceGetTotalEnergyConsumption,
            pynvml.nvmlDeviceGetAccountingMode,
        ):
            assert refusal(read, instance) == pynvml.NVML_ERROR_NOT_SUPPORTED
        assert fields(instance, 186, 83, 74) == ["error 3"] * 3
