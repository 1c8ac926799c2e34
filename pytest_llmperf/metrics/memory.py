"""Memory: from the traces of a measurement, and from what its engine states, to one number.

On several devices memory is that of the fullest one, since a sum hides a device that is full. All levels are bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.reading import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_llmperf.measurement.engine_info import Device
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.memory_trace import MemoryTrace
    from pytest_llmperf.metrics.metric import Metric

_PEAK, _KV_RESERVED, _KV_CACHE = "memory.peak", "memory.kv_reserved", "memory.kv_cache"


def read_peak(measurement: Measurement, metric: Metric) -> Reading:
    """The largest sample of the engine's memory."""
    return _read_fullest(find_traces(measurement), _peak)


def read_growth(measurement: Measurement, metric: Metric) -> Reading:
    """The peak less the level before the test."""
    return _read_fullest(find_traces(measurement), lambda trace: _subtract_before(trace, _peak(trace)))


def read_retained(measurement: Measurement, metric: Metric) -> Reading:
    """The level after the test less that before it; below zero if the engine gave memory back."""
    return _read_fullest(find_traces(measurement), lambda trace: _subtract_before(trace, _read_settled_level(trace)))


def read_host_peak(measurement: Measurement, metric: Metric) -> Reading:
    """The largest sample of the engine's memory on the host."""
    return _read_fullest(find_host_trace(measurement), _peak)


def read_settled(measurement: Measurement) -> Reading:
    """The level that memory has settled at, for a measurement that ends at a moment without requests."""
    return _read_fullest(find_traces(measurement), _read_settled_level)


def read_idle(measurement: Measurement, metric: Metric) -> Reading:
    """The level at which memory had settled while all models of the test were loaded and no request ran."""
    if measurement.idle is not None:
        return measurement.idle
    return Reading.missing(
        "the test used no engine"
        if measurement.engine is None
        else "it is measured at the end of a test that limits it, or before the test unloads an engine"
    )


def read_unloaded(measurement: Measurement, metric: Metric) -> Reading:
    """The level at which memory settled after the test had unloaded a model or put it to sleep."""
    if measurement.unloaded is not None:
        return measurement.unloaded
    return Reading.missing(
        "the test used no engine"
        if measurement.engine is None
        else "the test did not call llm_engine.unload() or sleep()"
    )


def read_stated(measurement: Measurement, metric: Metric) -> Reading:
    """What the engine states under the name of the metric, unchanged."""
    if metric.name in measurement.engine_readings:
        return measurement.engine_readings[metric.name]
    return Reading.missing(_why_unstated(measurement))


def read_required(measurement: Measurement, metric: Metric) -> Reading:
    """The peak, less the KV cache that the engine set aside and did not use: what the test needed."""
    stated = measurement.engine_readings
    unstated = Reading.missing(_why_unstated(measurement))
    parts = {
        _PEAK: _read_fullest(find_traces(measurement), _peak),
        _KV_RESERVED: stated.get(_KV_RESERVED, unstated),
        _KV_CACHE: stated.get(_KV_CACHE, unstated),
    }
    for name, part in parts.items():
        if part.value is None:
            return Reading.missing(f"{name} is not known: {part.reason}")
    peak, reserved, used = (part.value or 0.0 for part in parts.values())
    # The peak is that of the fullest device, and each has an equal part of the KV cache.
    unused = (reserved - used) / max(1, len(measurement.devices))
    if unused > peak:
        return Reading.missing("the engine set aside more for its KV cache than it holds: not all of it is resident")
    return Reading(peak - unused, parts[_PEAK].how, samples=parts[_PEAK].samples)


# -------------------------------------------------------------------------------------------------------------- traces


def find_traces(measurement: Measurement) -> Sequence[tuple[Device | None, MemoryTrace]] | Missing:
    """The traces of the engine's memory, each with its device; of the host, with None, if it computes on the CPU."""
    engine = measurement.engine
    if engine is None or engine.on_cpu:
        return find_host_trace(measurement)
    if measurement.devices:
        return [(trace.device, trace.memory) for trace in measurement.devices]
    return Missing(measurement.devices_missing or "the memory of the engine's GPU was not read")


def find_host_trace(measurement: Measurement) -> Sequence[tuple[None, MemoryTrace]] | Missing:
    """The one trace of the engine's memory on the host, with None for its device."""
    if measurement.memory is None:
        return Missing(measurement.memory_missing or "the test used no engine")
    return [(None, measurement.memory)]


def _read_fullest(
    traces: Sequence[tuple[Device | None, MemoryTrace]] | Missing, level: Callable[[MemoryTrace], Reading]
) -> Reading:
    if isinstance(traces, Missing):
        return Reading.missing(traces.reason)
    readings = [(device, level(trace)) for device, trace in traces]
    for device, reading in readings:
        if reading.value is None:
            return Reading.missing(reading.reason if device is None else device.name_in(reading.reason))
    device, worst = max(readings, key=lambda pair: pair[1].value or 0.0)
    if device is None:
        return worst
    among = f", the fullest of {len(readings)}" if len(readings) > 1 else ""
    return Reading(worst.value, f"{device.label}{among}: {worst.how}", samples=worst.samples)


def _peak(trace: MemoryTrace) -> Reading:
    if trace.missing:
        return Reading.missing(trace.missing)
    if trace.peak_bytes is None:
        return Reading.missing("the sampler gave no sample")
    return Reading(trace.peak_bytes, trace.source, samples=len(trace.samples))


def _read_settled_level(trace: MemoryTrace) -> Reading:
    peak = _peak(trace)
    if peak.value is None:
        return peak
    if trace.settled_bytes is None:
        return Reading.missing(trace.settled_reason or "the run did not wait for the memory to settle")
    return Reading(trace.settled_bytes, trace.source, samples=len(trace.samples))


def _subtract_before(trace: MemoryTrace, level: Reading) -> Reading:
    if level.value is None:
        return level
    if trace.before_bytes is None:
        return Reading.missing("no sample from before the test")
    return Reading(level.value - trace.before_bytes, level.how, samples=level.samples)


def _why_unstated(measurement: Measurement) -> str:
    engine = measurement.engine
    return "the test used no engine" if engine is None else f"the engine {engine.name} does not state it"
