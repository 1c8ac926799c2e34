"""What a device did over a window, and what it held when it had settled: telemetry/device_traces.py, devices.py."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.measurement.device_trace import DeviceProcess, DeviceTrace
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.telemetry.analysis.attribution import Baseline
from pytest_llmperf.telemetry.device_traces import EngineBaselines
from pytest_llmperf.telemetry.records.ring import (
    DEVICE_MEMORY,
    EXPORTERS,
    KNOWN,
    MATCHED,
    POWER,
    PROCESS,
    VISIBLE,
)
from pytest_llmperf.telemetry.records.source import Why
from tests.helpers.process_lists import ENGINE, GIB, L4, MS, OTHER_ENGINE, STRANGER
from tests.helpers.sampler_double import SECOND, SamplerDouble, devices, sampler, window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.telemetry.devices import Devices

__all__ = ["devices", "sampler", "window"]

ATTACHED = EngineBaselines((ENGINE,))
STARTED = EngineBaselines((ENGINE,), {L4.slot: Baseline(GIB)})
WITH_ENGINE = (ENGINE, 3, MATCHED | VISIBLE)
SHARE = (ENGINE, 3, MATCHED | KNOWN)


def sampled(sampler: SamplerDouble, window: Window, until_ns: int = 0) -> None:
    """5 GiB throughout, 3 of them the engine's by the lists at the edges."""
    sampler.levels(window.start_ns - SECOND // 2, until_ns or window.end_ns + SECOND // 2)
    sampler.processes(5, WITH_ENGINE, shares=[SHARE], at_ns=window.start_ns - 5 * MS)
    sampler.processes(5, WITH_ENGINE, shares=[SHARE], at_ns=window.end_ns + 5 * MS)


def trace(devices: Devices, window: Window, engines: Sequence[EngineBaselines] = (ATTACHED,)) -> DeviceTrace:
    (found,) = devices.traces(window, [L4], engines)
    return found


# -------------------------------------------------------------------------------------------------------------- memory


def test_a_trace_has_the_device_and_what_the_engine_held(
    devices: Devices, sampler: SamplerDouble, window: Window
) -> None:
    sampled(sampler, window)
    found = trace(devices, window)
    assert (found.device.name, found.device.uuid, found.device.kind) == ("NVIDIA L4", "GPU-1", "cuda")
    assert (found.memory.attribution, found.memory.peak_bytes, found.memory.before_bytes) == ("pids", 3 * GIB, 3 * GIB)
    assert (found.memory.fault, found.memory.missing) == ("", "")


def test_several_engines_hold_their_sum_over_the_earliest_baseline(
    devices: Devices, sampler: SamplerDouble, window: Window
) -> None:
    sampler.levels(window.start_ns - SECOND // 2, window.end_ns + SECOND // 2)
    later = EngineBaselines((OTHER_ENGINE,), {L4.slot: Baseline(3 * GIB)})
    found = trace(devices, window, [later, STARTED])
    assert (found.memory.attribution, found.memory.peak_bytes) == ("rise", 4 * GIB)
    assert trace(devices, window, [STARTED, ATTACHED]).memory.attribution == "device"


def test_a_device_lost_in_the_window_is_a_fault(devices: Devices, sampler: SamplerDouble, window: Window) -> None:
    sampler.levels(window.start_ns - SECOND // 2, window.end_ns)
    sampler.processes(5, WITH_ENGINE, shares=[SHARE], at_ns=window.start_ns - 5 * MS)
    sampler.fail(sampler.driver, window.end_ns - MS, POWER, "the GPU is lost", Why.LOST)
    found = trace(devices, window).memory
    assert (found.fault, found.missing) == ("the GPU is lost", "")


def test_a_device_lost_long_before_is_lost_still(devices: Devices, sampler: SamplerDouble, window: Window) -> None:
    sampler.fail(sampler.memory, window.start_ns - 60 * SECOND, DEVICE_MEMORY, "the GPU is lost", Why.LOST)
    devices.edge()
    assert trace(devices, window).memory.fault == "the GPU is lost"


def test_a_device_that_was_lost_after_the_window_was_there_during_it(
    devices: Devices, sampler: SamplerDouble, window: Window
) -> None:
    sampled(sampler, window)
    sampler.fail(sampler.memory, window.end_ns + SECOND, DEVICE_MEMORY, "the GPU is lost", Why.LOST)
    devices.edge()
    assert trace(devices, window).memory.fault == ""


def test_a_device_that_is_read_again_is_lost_no_more(devices: Devices, sampler: SamplerDouble, window: Window) -> None:
    sampler.fail(sampler.driver, window.start_ns - 60 * SECOND, POWER, "the GPU is lost", Why.LOST)
    sampled(sampler, window)
    devices.edge()
    assert trace(devices, window).memory.fault == ""


@pytest.mark.parametrize(("slot", "lane"), [(L4.slot + 1, DEVICE_MEMORY), (L4.slot, EXPORTERS)])
def test_what_befell_another_device_or_exporters_of_the_same_number_does_not_count(
    slot: int, lane: int, devices: Devices, sampler: SamplerDouble, window: Window
) -> None:
    sampled(sampler, window)
    sampler.faults.append({"slot": slot, "lane": lane, "why": "lost", "text": "it is lost"})
    devices.edge()
    assert trace(devices, window).memory.fault == ""


@pytest.mark.parametrize("before", [1, 60])
def test_a_level_that_is_no_longer_read_is_missing_with_its_reason(
    before: int, devices: Devices, sampler: SamplerDouble, window: Window
) -> None:
    sampler.fail(sampler.memory, window.start_ns - before * SECOND, DEVICE_MEMORY, "it may not be read", Why.ABSENT)
    devices.edge()
    found = trace(devices, window).memory
    assert (found.missing, found.fault) == ("it may not be read", "")


@pytest.mark.parametrize("lane", [POWER, PROCESS])
def test_another_reading_that_is_absent_does_not_concern_memory(
    lane: int, devices: Devices, sampler: SamplerDouble, window: Window
) -> None:
    sampler.fail(sampler.driver, window.start_ns - SECOND, lane, "the driver gives no such thing", Why.ABSENT)
    sampled(sampler, window)
    devices.edge()
    found = trace(devices, window).memory
    assert (found.missing, found.fault) == ("", "")


def test_readings_that_failed_for_a_while_explain_the_gap(
    devices: Devices, sampler: SamplerDouble, window: Window
) -> None:
    sampler.levels(window.start_ns - SECOND // 2, window.start_ns + SECOND // 2)
    sampler.fail(sampler.memory, window.start_ns + SECOND, DEVICE_MEMORY, "it took too long", Why.TRANSIENT)
    sampler.levels(window.start_ns + 3 * SECOND // 2, window.end_ns + SECOND)
    assert trace(devices, window).memory.fault == "the sampler missed 1.00 s of the test: it took too long"


def test_one_reading_that_failed_is_no_fault(devices: Devices, sampler: SamplerDouble, window: Window) -> None:
    sampler.fail(sampler.memory, window.start_ns - SECOND, DEVICE_MEMORY, "it took too long", Why.TRANSIENT)
    sampled(sampler, window)
    assert trace(devices, window).memory.fault == ""


def test_a_driver_that_hangs_makes_memory_missing(devices: Devices, sampler: SamplerDouble, window: Window) -> None:
    sampler.hung = "the driver hangs"
    found = trace(devices, window).memory
    assert (found.missing, found.fault) == ("the driver hangs", "")


def test_a_sampler_that_died_in_the_window_is_a_fault_and_one_that_died_later_is_none(
    devices: Devices, sampler: SamplerDouble, window: Window
) -> None:
    sampled(sampler, window, window.end_ns - MS)
    sampler.died = "the sampler died (killed by SIGKILL)"
    assert trace(devices, window).memory.fault == "the sampler died (killed by SIGKILL)"
    sampler.levels(window.end_ns, window.end_ns + SECOND)
    assert trace(devices, window).memory.fault == ""


# -------------------------------------------------------------------------------------------------- energy, conditions


def test_the_idle_power_and_who_was_there_are_learned_while_the_devices_settle(
    devices: Devices, sampler: SamplerDouble, window: Window
) -> None:
    def edge() -> None:
        for watts in (58, 62):
            sampler.power(watts)
        sampler.processes(5, (STRANGER, 1, VISIBLE))

    sampler.at_edge = edge
    sampler.names = {STRANGER: "trainer", STRANGER + 1: "newcomer"}
    devices.settle([L4], patience_s=0)
    now = time.monotonic_ns()
    later = Window(now, now + SECOND)
    sampler.processes(5, (STRANGER, 1, VISIBLE), (STRANGER + 1, 2, VISIBLE), at_ns=now + SECOND)
    found = trace(devices, later)
    assert found.energy.idle_watts == 60
    assert found.conditions.newcomers == (DeviceProcess(STRANGER + 1, "newcomer", 2 * GIB),)


def test_who_was_there_when_an_engine_was_found_running_is_no_newcomer(
    devices: Devices, sampler: SamplerDouble, window: Window
) -> None:
    sampler.at_edge = lambda: sampler.processes(5, WITH_ENGINE, (STRANGER, 1, VISIBLE), shares=[SHARE])
    devices.find_engine_devices(ATTACHED, [L4])
    now = time.monotonic_ns()
    assert trace(devices, Window(now - SECOND, now)).conditions.newcomers == ()


def test_a_slice_of_a_gpu_has_no_energy_of_its_own(devices: Devices, sampler: SamplerDouble, window: Window) -> None:
    slice_ = replace(L4, parent="GPU-0")
    (found,) = devices.traces(window, [slice_], [ATTACHED])
    assert found.energy.reason == "energy is measured for the whole GPU, of which the engine has a MIG instance"


# ------------------------------------------------------------------------------------------------------------- settled


def test_a_level_that_stands_still_has_settled(devices: Devices, sampler: SamplerDouble) -> None:
    now = time.monotonic_ns()
    sampler.levels(now - SECOND, now + 60 * SECOND)
    sampler.processes(5, WITH_ENGINE, shares=[SHARE])
    assert devices.wait_until_settled(L4, [ATTACHED], 30) == (3 * GIB, "")


def test_a_level_that_moves_first_is_waited_for(devices: Devices, sampler: SamplerDouble) -> None:
    now = time.monotonic_ns()
    moving = now + SECOND // 2
    sampler.levels(now - SECOND, now + 60 * SECOND, lambda t: 5 + max(0, moving - t) / SECOND)
    assert devices.wait_until_settled(L4, [STARTED], 30) == (4 * GIB, "")


def test_when_it_does_not_settle_who_holds_the_memory_is_named(devices: Devices, sampler: SamplerDouble) -> None:
    now = time.monotonic_ns()
    sampler.levels(now - SECOND, now + 60 * SECOND, lambda t: 5 + t // (100 * MS) % 2)
    sampler.names = {ENGINE: "VLLM::EngineCor"}
    sampler.processes(9, (STRANGER, 9, VISIBLE | KNOWN))  # who has left meanwhile
    sampler.at_edge = lambda: sampler.processes(5, WITH_ENGINE, (OTHER_ENGINE, None, 0))
    assert devices.wait_until_settled(L4, [STARTED], 0.35) == (
        None,
        "the memory still moved by 1.00 GiB in 0.3 s, 0.35 s after the test; on the device: "
        "100 (VLLM::EngineCor) 3.00 GiB, 200 of unknown size",
    )


def test_when_it_does_not_settle_and_the_driver_lists_nobody_that_is_said(
    devices: Devices, sampler: SamplerDouble
) -> None:
    now = time.monotonic_ns()
    sampler.levels(now - SECOND, now + 60 * SECOND, lambda t: 5 + t // (100 * MS) % 2)
    _, reason = devices.wait_until_settled(L4, [STARTED], 0.35)
    assert reason.endswith("; on the device: no process that the driver lists")


GB10 = replace(L4, unified=True, total_bytes=None)


def test_in_the_memory_of_the_host_a_level_may_move_by_a_share_of_what_it_is_compared_with(
    devices: Devices, sampler: SamplerDouble
) -> None:
    now = time.monotonic_ns()
    sampler.levels(now - SECOND, now + 60 * SECOND, lambda t: 5 + t // (100 * MS) % 2)
    settled, reason = devices.wait_until_settled(GB10, [STARTED], 0.35, limit_bytes=10 * GIB)
    assert settled is None
    assert reason.startswith("the memory still moved by 1.00 GiB")
    assert devices.wait_until_settled(GB10, [STARTED], 0.35, limit_bytes=20 * GIB) == (5 * GIB, "")


def test_in_memory_of_its_own_an_engine_has_to_stand_still(devices: Devices, sampler: SamplerDouble) -> None:
    now = time.monotonic_ns()
    sampler.levels(now - SECOND, now + 60 * SECOND, lambda t: 5 + t // (100 * MS) % 2)
    assert devices.wait_until_settled(L4, [STARTED], 0.35, limit_bytes=20 * GIB)[0] is None


def test_a_driver_that_hangs_is_not_waited_for(devices: Devices, sampler: SamplerDouble) -> None:
    sampler.hung = "the driver hangs"
    assert devices.wait_until_settled(L4, [ATTACHED], 1e9) == (None, "the driver hangs")


def test_samples_that_are_missing_are_waited_for_only_so_long(devices: Devices) -> None:
    settled, reason = devices.wait_until_settled(L4, [ATTACHED], 0.35)
    assert (settled, reason) == (None, "the sampler missed 0.30 s of the test")
