"""Energy: from the counters of a measurement's devices to joules and watts, summed over the devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.metrics.evidence import SensorAccuracy
from pytest_llmperf.metrics.missing import NO_TOKEN_COUNT

if TYPE_CHECKING:
    from pytest_llmperf.measurement.device_trace import DeviceTrace
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.metrics.metric import Metric

SENSOR_ACCURACY = SensorAccuracy(0.05)
"""NVIDIA states ±5 % for the power that its drivers report, of which the energy counter is the sum."""


def find_accuracy(measurement: Measurement) -> SensorAccuracy:
    """How exact the energy of this measurement is."""
    return SENSOR_ACCURACY


def read_total(measurement: Measurement, metric: Metric) -> Reading:
    """Joules over the test."""
    return sum_joules(measurement)


def read_per_output_token(measurement: Measurement, metric: Metric) -> Reading:
    """Joules for each output token of the answered requests."""
    total = sum_joules(measurement)
    if total.value is None:
        return total
    counts = [r.output_tokens for r in measurement.requests if r.error is None]
    tokens = sum(count for count in counts if count is not None)
    if not tokens:
        return Reading.missing("the test got no output token through llm_client")
    if None in counts:
        return Reading.missing(NO_TOKEN_COUNT)
    return Reading(total.value / tokens, f"{total.how}; {tokens} output tokens", samples=tokens)


def read_mean_power(measurement: Measurement, metric: Metric) -> Reading:
    """Watts: the joules over the length of the test."""
    total = sum_joules(measurement)
    if total.value is None:
        return total
    return Reading(total.value / measurement.window.seconds, total.how, samples=1)


def why_energy_doubtful(trace: DeviceTrace) -> str:
    """Why the energy of a device is not the engine's alone, or not to be trusted; empty if it is."""
    if trace.conditions.newcomers:
        others = ", ".join(map(str, trace.conditions.newcomers))
        return f"others computed on the device during the test, and their energy is counted too: {others}"
    return trace.energy.fault


def sum_joules(measurement: Measurement) -> Reading:
    """Joules of all devices of a measurement over its window."""
    engine = measurement.engine
    if engine is None:
        return Reading.missing("the test used no engine")
    if engine.on_cpu:
        return Reading.missing(f"no energy counter is read on {engine.device_name}")
    if not measurement.devices:
        return Reading.missing(measurement.devices_missing or "the energy of the engine's GPU was not read")
    joules = 0.0
    for trace in measurement.devices:
        if trace.energy.joules is None:
            return Reading.missing(trace.device.name_in(trace.energy.reason))
        joules += trace.energy.joules
    how = measurement.devices[0].energy.how
    if len(measurement.devices) > 1:
        how = f"sum over {len(measurement.devices)} devices, each: {how}"
    return Reading(joules, how, samples=1)
