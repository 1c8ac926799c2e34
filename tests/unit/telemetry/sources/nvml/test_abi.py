"""Our structures and numbers are those of the C interface, as the binding of its vendor states them."""

from __future__ import annotations

import ctypes

import pynvml
import pytest

from pytest_llmperf.telemetry.records.event_reasons import EventReason
from pytest_llmperf.telemetry.records.ring import THROTTLE
from pytest_llmperf.telemetry.sources.nvml import abi
from pytest_llmperf.telemetry.sources.nvml.errors import Code
from pytest_llmperf.telemetry.sources.nvml.sources import SENSOR_FIELDS


def layout(structure: type[ctypes.Structure | ctypes.Union]) -> list[tuple[str, int, int]]:
    return [(name, getattr(structure, name).offset, getattr(structure, name).size) for name, *_ in structure._fields_]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (abi.MemoryV1, pynvml.c_nvmlMemory_t),
        (abi.MemoryV2, pynvml.c_nvmlMemory_v2_t),
        (abi.Value, pynvml.c_nvmlValue_t),
        (abi.FieldValue, pynvml.c_nvmlFieldValue_t),
        (abi.Utilization, pynvml.c_nvmlUtilization_t),
        (abi.Temperature, pynvml.c_nvmlTemperature_v1_t),
        (abi.ProcessInfo, pynvml.c_nvmlProcessInfo_v3_t),
    ],
)
def test_structures_lie_in_memory_as_the_driver_fills_them(
    ours: type[ctypes.Structure], theirs: type[ctypes.Structure]
) -> None:
    assert layout(ours) == layout(theirs)
    assert ctypes.sizeof(ours) == ctypes.sizeof(theirs)


def test_new_structures_bear_the_version_of_their_layout() -> None:
    assert abi.MemoryV2().version == pynvml.nvmlMemory_v2
    assert abi.Temperature().version == pynvml.nvmlTemperature_v1


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.SUCCESS])
def test_error_codes_have_their_names(code: Code) -> None:
    assert getattr(pynvml, f"NVML_ERROR_{code.name}") == code


def test_fields_and_reasons_have_their_numbers() -> None:
    reasons = abi.read_event_reasons
    assert {f: (q.kind == THROTTLE, q.detail) for f, q in SENSOR_FIELDS.items()} == {
        pynvml.NVML_FI_DEV_POWER_INSTANT: (False, 0),
        pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION: (False, 0),
        pynvml.NVML_FI_DEV_MEMORY_TEMP: (False, 0),
        pynvml.NVML_FI_DEV_PERF_POLICY_POWER: (True, reasons(pynvml.nvmlClocksThrottleReasonSwPowerCap)),
        pynvml.NVML_FI_DEV_PERF_POLICY_SYNC_BOOST: (
            True,
            reasons(pynvml.nvmlClocksThrottleReasonSyncBoost),
        ),
        pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN: (
            True,
            reasons(pynvml.nvmlClocksThrottleReasonSwThermalSlowdown),
        ),
        pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN: (
            True,
            reasons(pynvml.nvmlClocksThrottleReasonHwThermalSlowdown),
        ),
        pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN: (
            True,
            reasons(pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown),
        ),
    }


@pytest.mark.parametrize(
    ("kind", "member", "value", "number"),
    [(0, "dVal", 2.9, 2), (1, "uiVal", 7, 7), (3, "ullVal", 2**40, 2**40), (4, "sllVal", -3, -3), (5, "siVal", -2, -2)],
)
def test_a_value_is_read_as_the_type_that_the_driver_names(kind: int, member: str, value: float, number: int) -> None:
    field = abi.FieldValue(valueType=kind)
    field.value.ullVal = 2**64 - 1
    setattr(field.value, member, value)
    assert field.number() == number


def test_a_value_of_a_type_yet_unknown_is_read_as_the_widest_number() -> None:
    field = abi.FieldValue(valueType=99)
    field.value.ullVal = 2**40
    assert field.number() == 2**40


def test_a_reason_that_slows_nothing_down_is_none() -> None:
    assert abi.read_event_reasons(pynvml.nvmlClocksThrottleReasonGpuIdle) == 0
    both = pynvml.nvmlClocksThrottleReasonHwSlowdown | pynvml.nvmlClocksThrottleReasonSwPowerCap
    assert abi.read_event_reasons(both) == EventReason.HARDWARE_SLOWDOWN | EventReason.SOFTWARE_POWER_CAP
