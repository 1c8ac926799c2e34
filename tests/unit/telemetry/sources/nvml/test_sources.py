from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.records.event_reasons import EventReason
from pytest_llmperf.telemetry.records.ring import (
    ENERGY,
    MEMORY_TEMPERATURE,
    POWER,
    REASONS,
    SM_CLOCK,
    TEMPERATURE,
    THROTTLE,
    UTILIZATION,
)
from pytest_llmperf.telemetry.records.source import SourceError, Why
from pytest_llmperf.telemetry.sources.nvml import sources
from pytest_llmperf.telemetry.sources.nvml.errors import Code
from pytest_llmperf.testing import GIB, Fault, ScriptedDevice, ScriptedInstance, Throttle
from tests.helpers.scripted_gpus import SECOND, backend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.telemetry.records.ring import RingRecord
    from pytest_llmperf.telemetry.records.source import Source

MEMORY, FIELDS = "nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetFieldValues"
PATIENCE = 10


def values(records: Sequence[RingRecord]) -> dict[tuple[int, int], int]:
    return {(record.lane, record.detail): record.value for record in records}


def explain_refusal(source: Source) -> SourceError:
    with pytest.raises(SourceError) as refused:
        source.read(1)
    assert "\n" not in str(refused.value)
    return refused.value


# ----------------------------------------------------------------------------------------------------- sensors


def test_all_sensors_come_from_one_driver_call_and_bear_its_time() -> None:
    gpu = ScriptedDevice(
        power=250_000,
        energy_tick_ns=SECOND,
        memory_temperature=61,
        throttles=[
            Throttle(74, 0, 5 * SECOND),
            Throttle(76, 0, 4 * SECOND),
            Throttle(269, 0, 3 * SECOND),
            Throttle(270, 0, 2 * SECOND),
            Throttle(271, 0, SECOND),
        ],
    )
    with backend(gpu) as (gpus, _, double):
        records = gpus.sensors(0).read(77)
        assert double.calls[FIELDS] == 1
    assert {record.t_ns for record in records} == {77}
    assert {record.key for record in records} == {0}
    assert values(records) == {
        (POWER, 0): 250_000,
        (ENERGY, 0): 2_500_000,
        (THROTTLE, EventReason.SOFTWARE_POWER_CAP): 5 * SECOND,
        (THROTTLE, EventReason.SYNC_BOOST): 4 * SECOND,
        (THROTTLE, EventReason.SOFTWARE_THERMAL): 3 * SECOND,
        (THROTTLE, EventReason.HARDWARE_THERMAL): 2 * SECOND,
        (THROTTLE, EventReason.HARDWARE_POWER_BRAKE): SECOND,
        (MEMORY_TEMPERATURE, 0): 61,
    }


def test_the_energy_counter_can_be_read_alone() -> None:
    with backend(ScriptedDevice(power=100_000, energy_tick_ns=SECOND)) as (gpus, script, _):
        energy = gpus.energy(0)
        assert values(energy.read(1)) == {(ENERGY, 0): 1_000_000}
        script.now_ns = 11 * SECOND
        assert values(energy.read(2)) == {(ENERGY, 0): 1_100_000}


def test_a_sensor_that_is_not_there_is_left_out_and_dropped_after_ten_refusals() -> None:
    with backend(ScriptedDevice(memory_temperature=None)) as (gpus, _, _):
        sensors = gpus.sensors(0)
        for _ in range(PATIENCE):
            assert sensors.missing == {}
            assert (MEMORY_TEMPERATURE, 0) not in values(sensors.read(1))
        assert list(sensors.missing) == [(MEMORY_TEMPERATURE, 0)]
        assert "the driver gives no memory temperature" in sensors.missing[MEMORY_TEMPERATURE, 0]
        assert len(sensors.read(1)) == 7


def test_a_sensor_that_an_older_driver_does_not_know_is_one_that_is_not_there() -> None:
    with backend(faults=(Fault("field:271", Code.INVALID_ARGUMENT),)) as (gpus, _, _):
        sensors = gpus.sensors(0)
        for _ in range(PATIENCE):
            sensors.read(1)
        assert list(sensors.missing) == [(THROTTLE, EventReason.HARDWARE_POWER_BRAKE)]


def test_refusals_between_answers_do_not_add_up() -> None:
    with backend() as (gpus, script, _):
        sensors = gpus.sensors(0)
        for _ in range(3):
            script.faults.append(Fault("field:186", Code.NOT_SUPPORTED, times=PATIENCE - 1))
            for _ in range(PATIENCE - 1):
                assert (POWER, 0) not in values(sensors.read(1))
            script.faults.clear()
            assert (POWER, 0) in values(sensors.read(1))
        assert sensors.missing == {}


def test_a_sensor_that_is_forbidden_is_dropped_at_once_and_the_others_stay() -> None:
    with backend(faults=(Fault("field:186", Code.NO_PERMISSION),)) as (gpus, script, _):
        sensors = gpus.sensors(0)
        assert len(sensors.read(1)) == 7
        assert "this user may not read the instant power" in sensors.missing[POWER, 0]
        script.faults.clear()
        assert (POWER, 0) not in values(sensors.read(1))


def test_a_gpu_without_an_energy_counter_says_so_after_ten_refusals() -> None:
    with backend(ScriptedDevice(energy_tick_ns=None)) as (gpus, _, _):
        energy = gpus.energy(0)
        for _ in range(PATIENCE - 1):
            assert explain_refusal(energy).why is Why.TRANSIENT
        for _ in range(2):
            error = explain_refusal(energy)
            assert (str(error), error.why) == (
                "NVIDIA L4 (GPU-00000000): the driver gives no energy counter",
                Why.ABSENT,
            )


def test_a_gpu_without_any_sensor_is_not_asked_for_ever() -> None:
    gpu = ScriptedDevice(power=None, energy_tick_ns=None, throttle_fields=(), memory_temperature=None)
    with backend(gpu) as (gpus, _, double):
        sensors = gpus.sensors(0)
        for _ in range(PATIENCE - 1):
            assert explain_refusal(sensors).why is Why.TRANSIENT
        error = explain_refusal(sensors)
        assert error.why is Why.ABSENT
        assert str(error).endswith("the driver gives no instant power (and 7 more such sensors)")
        calls = double.calls[FIELDS]
        assert explain_refusal(sensors).why is Why.ABSENT
        assert double.calls[FIELDS] == calls


def test_a_device_that_is_lost_for_one_sensor_is_lost_for_all() -> None:
    with backend(faults=(Fault("field:82", Code.GPU_IS_LOST),)) as (gpus, _, _):
        assert explain_refusal(gpus.sensors(0)).why is Why.LOST


def test_energy_that_is_read_along_with_nothing_else_fails_by_its_own_name() -> None:
    with backend(faults=(Fault(FIELDS, Code.NO_PERMISSION),)) as (gpus, _, _):
        assert "may not read the energy counter" in str(explain_refusal(gpus.energy(0)))
        assert "may not read the sensors" in str(explain_refusal(gpus.sensors(0)))


# ------------------------------------------------------------------------------------------------------- state


def test_state_is_temperature_clock_utilization_and_reasons() -> None:
    gpu = ScriptedDevice(temperature=64, sm_clock=1_410, utilization=87, event_reasons=0x1)
    with backend(gpu) as (gpus, _, _):
        records = gpus.state(0).read(7)
    assert values(records) == {(TEMPERATURE, 0): 64, (SM_CLOCK, 0): 1_410, (UTILIZATION, 0): 87, (REASONS, 0): 0}
    assert {(record.t_ns, record.key) for record in records} == {(7, 0)}


def test_an_older_driver_gives_the_reasons_under_their_older_name() -> None:
    with backend(ScriptedDevice(event_reasons=0x44), driver_version="525.85.12") as (gpus, _, double):
        assert (
            values(gpus.state(0).read(1))[REASONS, 0] == EventReason.SOFTWARE_POWER_CAP | EventReason.HARDWARE_THERMAL
        )
        assert double.calls["nvmlDeviceGetCurrentClocksThrottleReasons"] == 1


def test_a_driver_that_dropped_the_old_temperature_call_is_asked_by_the_new_one() -> None:
    with backend(ScriptedDevice(temperature=71), missing=frozenset({"nvmlDeviceGetTemperature"})) as (gpus, _, double):
        assert values(gpus.state(0).read(1))[TEMPERATURE, 0] == 71
        assert double.calls["nvmlDeviceGetTemperatureV"] == 1


def test_what_a_driver_has_no_function_for_is_absent_with_the_name_of_the_function() -> None:
    with backend(missing=frozenset({"nvmlDeviceGetClockInfo"})) as (gpus, _, _):
        state = gpus.state(0)
        assert (SM_CLOCK, 0) not in values(state.read(1))
        assert "this driver is too old to give the SM clock (nvmlDeviceGetClockInfo)" in state.missing[SM_CLOCK, 0]


def test_state_without_anything_is_absent() -> None:
    gpu = ScriptedDevice(temperature=None, sm_clock=None, utilization=None)
    reasons = Fault("nvmlDeviceGetCurrentClocksEventReasons", Code.NO_PERMISSION)
    with backend(gpu, faults=(reasons,)) as (gpus, _, _):
        state = gpus.state(0)
        for _ in range(PATIENCE - 1):
            assert explain_refusal(state).why is Why.TRANSIENT
        for _ in range(2):
            assert explain_refusal(state).why is Why.ABSENT


# --------------------------------------------------------------------------------------------------------- MIG


def sliced() -> ScriptedDevice:
    return ScriptedDevice(
        name="NVIDIA A100",
        power=300_000,
        energy_tick_ns=SECOND,
        temperature=55,
        sm_clock=1_200,
        event_reasons=0x4,
        mig=[ScriptedInstance(used=GIB)],
    )


def test_power_and_energy_of_a_mig_instance_are_those_of_its_gpu_under_its_own_slot() -> None:
    with backend(sliced()) as (gpus, _, _):
        records = gpus.sensors(1).read(1)
        assert values(records)[POWER, 0] == 300_000
        assert values(gpus.energy(1).read(1)) == {(ENERGY, 0): 3_000_000}
        assert {record.key for record in records} == {1}


def test_the_state_of_a_mig_instance_is_that_of_its_gpu_without_utilization() -> None:
    with backend(sliced()) as (gpus, _, double):
        state = gpus.state(1)
        assert values(state.read(1)) == {
            (TEMPERATURE, 0): 55,
            (SM_CLOCK, 0): 1_200,
            (REASONS, 0): EventReason.SOFTWARE_POWER_CAP,
        }
        assert "no utilization of MIG instances" in state.missing[UTILIZATION, 0]
        assert double.calls["nvmlDeviceGetUtilizationRates"] == 0


def test_the_level_comes_with_the_time_the_driver_took_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([1_000, 1_040])
    monkeypatch.setattr(sources, "monotonic_ns", lambda: next(moments))
    with backend() as (gpus, _, _):
        memory = gpus.memory(0)
        memory.read(1)
        assert memory.driver_ns == 40


def test_a_mig_instance_that_was_destroyed_is_lost() -> None:
    with backend(sliced()) as (gpus, script, _):
        memory = gpus.memory(1)
        script.devices[0].mig = []
        error = explain_refusal(memory)
        assert error.why is Why.LOST
        assert str(error).endswith("the MIG instance does not exist any more")


def test_an_argument_that_a_whole_gpu_refuses_does_not_make_it_lost() -> None:
    with backend(faults=(Fault("nvmlDeviceGetClockInfo", Code.INVALID_ARGUMENT),)) as (gpus, _, _):
        assert (TEMPERATURE, 0) in values(gpus.state(0).read(1))


@pytest.mark.parametrize("value", [2**63, 2**64 - 1])
def test_a_value_that_is_none_is_left_out_that_time(value: int) -> None:
    with backend(ScriptedDevice(throttle_base=value)) as (gpus, script, _):
        sensors = gpus.sensors(0)
        assert {kind for kind, _ in values(sensors.read(1))} == {POWER, ENERGY, MEMORY_TEMPERATURE}
        script.devices[0].throttle_base = 7
        assert values(sensors.read(1))[THROTTLE, EventReason.HARDWARE_THERMAL] == 7


def test_a_level_that_is_none_is_a_failure_that_time() -> None:
    with backend(ScriptedDevice(total=2**64 - 1, reserved=0, used=0)) as (gpus, script, _):
        memory = gpus.memory(0)
        script.devices[0].used = 2**63
        assert explain_refusal(memory).why is Why.TRANSIENT
        script.devices[0].used = GIB
        assert [record.value for record in memory.read(1)] == [GIB]
