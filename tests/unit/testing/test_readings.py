"""What the scripted sensors show over time, asked through the real pynvml."""

from __future__ import annotations

from typing import Any

import pynvml

from pytest_llmperf.testing import Scenario, ScriptedDevice, Throttle
from tests.helpers.asking import fields, refusal

SECOND = 10**9


class TestPower:
    def test_the_energy_counter_moves_with_its_tick_only(
        self, scenario: Scenario, gpu: ScriptedDevice, handle: Any
    ) -> None:
        gpu.power, gpu.energy_tick_ns = 100_000, SECOND // 10
        seen = []
        for scenario.now_ns in (0, SECOND // 10 - 1, SECOND // 10, SECOND // 4, SECOND):
            seen.append(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        assert seen == [0, 0, 10_000, 20_000, 100_000]
        assert fields(handle, 83, 191) == [100_000, 100_000]

    def test_the_energy_counter_integrates_the_steps_of_the_power(
        self, scenario: Scenario, gpu: ScriptedDevice, handle: Any
    ) -> None:
        gpu.power = [(0, 100_000), (2 * SECOND, 300_000), (3 * SECOND, 50_000)]
        scenario.now_ns = 5 * SECOND
        assert pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) == 200_000 + 300_000 + 100_000

    def test_a_reload_of_the_driver_sets_the_counter_back(
        self, scenario: Scenario, gpu: ScriptedDevice, handle: Any
    ) -> None:
        gpu.power, gpu.energy_base = 100_000, 7
        scenario.now_ns = 10 * SECOND
        assert pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) == 1_000_007
        gpu.energy_start_ns = 9 * SECOND
        assert pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) == 100_007

    def test_a_counter_may_disagree_with_the_power(self, scenario: Scenario, gpu: ScriptedDevice, handle: Any) -> None:
        gpu.power, gpu.energy_percent, scenario.now_ns = 100_000, 57, SECOND
        assert pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) == 57_000

    def test_power_usage_is_the_mean_of_the_last_second(
        self, scenario: Scenario, gpu: ScriptedDevice, handle: Any
    ) -> None:
        gpu.power = [(0, 100_000), (SECOND, 300_000)]
        scenario.now_ns = SECOND + SECOND // 4
        assert pynvml.nvmlDeviceGetPowerUsage(handle) == 150_000
        assert fields(handle, 185, 186) == [150_000, 300_000]

    def test_on_old_devices_it_is_the_power_of_the_moment(
        self, scenario: Scenario, gpu: ScriptedDevice, handle: Any
    ) -> None:
        gpu.power, gpu.power_averaged = [(0, 100_000), (SECOND, 300_000)], False
        scenario.now_ns = SECOND
        assert pynvml.nvmlDeviceGetPowerUsage(handle) == 300_000
        assert fields(handle, 185, 186) == ["error 3", 300_000]

    def test_what_the_device_does_not_measure_is_not_supported(self, gpu: ScriptedDevice, handle: Any) -> None:
        gpu.energy_tick_ns = gpu.memory_temperature = None
        assert refusal(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle) == pynvml.NVML_ERROR_NOT_SUPPORTED
        assert fields(handle, 83, 82, 186) == ["error 3", "error 3", 30_000]


class TestSensors:
    def test_throttling_is_counted_and_shown_while_it_lasts(
        self, scenario: Scenario, gpu: ScriptedDevice, handle: Any
    ) -> None:
        gpu.event_reasons = pynvml.nvmlClocksEventReasonGpuIdle
        gpu.throttles = [Throttle(74, 100, 300), Throttle(270, 200)]
        seen = {}
        for scenario.now_ns in (100, 250, 400):
            mask = pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
            assert pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle) == mask
            seen[scenario.now_ns] = (mask, *fields(handle, 74, 75, 269, 270, 271))
        assert seen == {100: (0x5, 0, 0, 0, 0, 0), 250: (0x45, 150, 0, 0, 50, 0), 400: (0x41, 200, 0, 0, 200, 0)}

    def test_a_counter_the_device_lacks_and_an_unknown_field_are_errors_of_that_value_alone(
        self, gpu: ScriptedDevice, handle: Any
    ) -> None:
        gpu.throttle_fields = (74,)
        assert fields(handle, 269, 74, 9999) == ["error 3", 0, "error 3"]

    def test_temperatures_clocks_and_utilization_follow_their_curves(
        self, scenario: Scenario, gpu: ScriptedDevice, handle: Any
    ) -> None:
        gpu.temperature, gpu.memory_temperature = [(0, 40), (5, 60)], 70
        gpu.sm_clock, gpu.memory_clock = [(0, 1_000), (5, 2_000)], 9_000
        gpu.utilization, gpu.memory_utilization = [(0, 0), (5, 97)], 30
        scenario.now_ns = 5
        assert pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU) == 60
        assert pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU) == 60
        assert fields(handle, 82) == [70]
        clocks = pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM
        assert [pynvml.nvmlDeviceGetClockInfo(handle, kind) for kind in clocks] == [2_000, 9_000]
        rates = pynvml.nvmlDeviceGetUtilizationRates(handle)
        assert (rates.gpu, rates.memory) == (97, 30)

    def test_what_never_changes_is_told_too(self, gpu: ScriptedDevice, handle: Any) -> None:
        assert pynvml.nvmlDeviceGetArchitecture(handle) == pynvml.NVML_DEVICE_ARCH_ADA
        assert pynvml.nvmlDeviceGetPowerManagementLimit(handle) == 72_000
        assert pynvml.nvmlDeviceGetPersistenceMode(handle) == pynvml.NVML_FEATURE_ENABLED
