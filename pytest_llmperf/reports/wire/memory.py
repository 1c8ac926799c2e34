"""The memory of an engine, and the devices that it computes on, as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.wire.numbers import to_count, to_milliseconds, to_number
from pytest_llmperf.reports.wire.timeline import downsample

if TYPE_CHECKING:
    from pytest_llmperf.measurement.device_trace import DeviceTrace
    from pytest_llmperf.measurement.engine_info import Device
    from pytest_llmperf.measurement.memory_trace import MemoryTrace

TIMELINE_POINTS = 32


def memory_to_wire(trace: MemoryTrace, start_ns: int) -> dict[str, Any]:
    """The level over time, and what is known of it; moments are ms from ``start_ns``."""
    return {
        "source": str(trace.source),
        "attribution": str(trace.attribution),
        "before_bytes": to_count(trace.before_bytes),
        "settled_bytes": to_count(trace.settled_bytes),
        "settled_reason": str(trace.settled_reason),
        "peak_bytes": to_count(trace.peak_bytes),
        "samples": len(trace.samples),
        "max_gap_s": to_number(trace.max_gap_ns / 1e9),
        "fault": str(trace.fault),
        "missing": str(trace.missing),
        "timeline": [
            [to_milliseconds(at_ns, start_ns), int(value)]
            for at_ns, value in downsample(trace.samples, TIMELINE_POINTS)
        ],
    }


def device_to_wire(device: Device) -> dict[str, str]:
    """What tells a device from others."""
    return {"kind": str(device.kind), "name": str(device.name), "uuid": str(device.uuid)}


def trace_to_wire(trace: DeviceTrace, start_ns: int) -> dict[str, Any]:
    """What a device did; moments are ms from ``start_ns``."""
    energy, state = trace.energy, trace.conditions
    return {
        "device": device_to_wire(trace.device),
        "memory": memory_to_wire(trace.memory, start_ns),
        "energy": {
            "joules": to_number(energy.joules),
            "above_idle_joules": to_number(energy.above_idle_joules),
            "idle_watts": to_number(energy.idle_watts),
            "instant_watts": to_number(energy.instant_watts),
            "tick_s": to_number(energy.tick_seconds),
            "how": str(energy.how),
            "reason": str(energy.reason),
            "fault": str(energy.fault),
        },
        "conditions": {
            "throttled_s": {str(reason): to_number(seconds) for reason, seconds in state.throttled_seconds.items()},
            "temperature_c": _pair(state.temperature_c),
            "memory_temperature_c": _pair(state.memory_temperature_c),
            "sm_clock_mhz": to_number(state.sm_clock_mhz),
            "utilization": to_number(state.utilization),
            "newcomers": [{"pid": int(p.pid), "name": str(p.name)} for p in state.newcomers],
            "slowdown": str(state.slowdown),
            "unknown": [str(text) for text in state.unknown],
        },
    }


def _pair(pair: tuple[float, float] | None) -> list[float | None] | None:
    return None if pair is None else [to_number(value) for value in pair]
