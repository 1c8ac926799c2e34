"""Traces of devices written out by hand, for the tests of what is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.device_trace import Conditions, DeviceProcess, DeviceTrace, Energy
from pytest_llmperf.measurement.engine_info import Device

if TYPE_CHECKING:
    from pytest_llmperf.measurement.memory_trace import MemoryTrace

FIRST = Device("cuda", "NVIDIA L4", "GPU-11111111-aaaa")
SECOND = Device("cuda", "NVIDIA L4", "GPU-22222222-bbbb")
TRAINER = DeviceProcess(4711, "trainer", 2**30)
ENERGY = Energy(
    joules=300.0,
    above_idle_joules=180.0,
    idle_watts=40.0,
    instant_watts=99.0,
    tick_seconds=0.02,
    how="energy counter from tick to tick",
)
QUIET = Conditions()
THROTTLED = Conditions(
    throttled_seconds={"software power cap": 1.5, "hardware thermal": 0.0},
    temperature_c=(41.0, 67.0),
    memory_temperature_c=(50.0, 71.0),
    sm_clock_mhz=1845.5,
    utilization=0.87,
    newcomers=(TRAINER, DeviceProcess(4712)),
    slowdown="process 4711 (trainer) also computed on the device, so times and rates are not the engine's own",
)


def on(
    memory: MemoryTrace, device: Device = FIRST, energy: Energy = ENERGY, conditions: Conditions = QUIET
) -> DeviceTrace:
    return DeviceTrace(device, memory, energy, conditions)
