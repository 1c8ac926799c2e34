"""Memory and energy: from the traces of a measurement to one number, or to the reason why there is none.

On several devices memory is that of the fullest one, since a sum hides a device that is full; energy is the sum.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.measurement import Energy, Reading
from pytest_llmperf.metrics.latency import NO_TOKEN_COUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_llmperf.measurement.measurement import Device, DeviceTrace, EngineInfo, Measurement, MemoryTrace

_SHARED_ENERGY = Energy(reason="several engines of the test computed on the device, which has one counter for all")


def read_idle(measurement: Measurement) -> Reading:
    """The level that a measurement has settled at, in bytes: ``memory.idle`` when it was taken after an unload."""
    return read_memory("idle", measurement)


def read_memory(key: str, measurement: Measurement) -> Reading:
    """``peak``, ``growth``, ``retained``, ``host_peak`` or ``idle`` (the settled level), in bytes."""
    traces = memory_traces(key, measurement)
    if isinstance(traces, str):
        return Reading.missing(traces)
    readings = [(device, _from_trace(key, trace)) for device, trace in traces]
    for device, reading in readings:
        if reading.value is None:
            return Reading.missing(reading.reason if device is None else _said_of(device, reading.reason))
    device, worst = max(readings, key=lambda pair: pair[1].value or 0.0)
    if device is None:
        return worst
    among = f", the fullest of {len(readings)}" if len(readings) > 1 else ""
    return Reading(worst.value, f"{_name(device)}{among}: {worst.how}", samples=worst.samples)


def memory_traces(key: str, measurement: Measurement) -> list[tuple[Device | None, MemoryTrace]] | str:
    """The traces that a memory metric is read from, each with its device (None: the host); or why there are none."""
    engine = measurement.engine
    if key == "host_peak" or engine is None or engine.on_cpu:
        missing = measurement.memory_missing or "the test used no engine"
        return [(None, measurement.memory)] if measurement.memory else missing
    if measurement.devices:
        return [(trace.device, trace.memory) for trace in measurement.devices]
    return measurement.devices_missing or "the memory of the engine's GPU was not read"


def _from_trace(key: str, trace: MemoryTrace) -> Reading:
    if trace.missing:
        return Reading.missing(trace.missing)
    if trace.peak_bytes is None:
        return Reading.missing("the sampler gave no sample")
    if key in ("retained", "idle") and trace.settled_bytes is None:
        return Reading.missing(trace.settled_reason or "nobody waited for the memory to settle")
    before = 0 if key in ("peak", "host_peak", "idle") else trace.before_bytes
    if before is None:
        return Reading.missing("no sample from before the test")
    level = trace.settled_bytes if key in ("retained", "idle") else trace.peak_bytes
    return Reading((level or 0) - before, trace.source, samples=len(trace.samples))


def read_energy(key: str, measurement: Measurement) -> Reading:
    """``total`` in J, ``per_output_token`` in J/tok or ``mean_power`` in W, over all devices of the engine."""
    joules = _joules(measurement)
    if isinstance(joules, str):
        return Reading.missing(joules)
    how = measurement.devices[0].energy.how
    if len(measurement.devices) > 1:
        how = f"sum over {len(measurement.devices)} devices, each: {how}"
    if key == "total":
        return Reading(joules, how, samples=1)
    if key == "mean_power":
        return Reading(joules / measurement.window.seconds, how, samples=1)
    counts = [r.output_tokens for r in measurement.requests if r.error is None]
    tokens = sum(count for count in counts if count is not None)
    if not tokens:
        return Reading.missing("the test got no output token through llm_client")
    if None in counts:
        return Reading.missing(NO_TOKEN_COUNT)
    return Reading(joules / tokens, f"{how}; {tokens} output tokens", samples=tokens)


def _joules(measurement: Measurement) -> float | str:
    engine = measurement.engine
    if engine is None:
        return "the test used no engine"
    if engine.on_cpu:
        return f"no energy counter is read on {engine.device_name}"
    if not measurement.devices:
        return measurement.devices_missing or "the energy of the engine's GPU was not read"
    total = 0.0
    for trace in measurement.devices:
        if trace.energy.joules is None:
            return _said_of(trace.device, trace.energy.reason)
        total += trace.energy.joules
    return total


def apart(parts: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """The measurements of the engines of one test, each with a label of its own.

    The energy of a device that several of them compute on is nobody's.
    """
    users = Counter(trace.device.uuid for part in parts for trace in part.devices)
    return tuple(
        replace(
            part,
            label=label,
            devices=tuple(
                replace(trace, energy=_SHARED_ENERGY) if users[trace.device.uuid] > 1 else trace
                for trace in part.devices
            ),
        )
        for part, label in zip(parts, _labels([part.engine for part in parts]), strict=True)
    )


def _labels(engines: Sequence[EngineInfo | None]) -> list[str]:
    """The shortest that tell them apart: ``vllm``, ``ollama:qwen3:0.6b``, ``llamacpp #2``."""
    names = Counter(engine.name for engine in engines if engine)
    labels = Counter(engine.label for engine in engines if engine)
    seen: Counter[str] = Counter()
    found = []
    for engine in engines:
        if engine is None or names[engine.name] == 1:
            found.append(engine.name if engine else "")
        elif labels[engine.label] == 1:
            found.append(engine.label)
        else:
            seen[engine.name] += 1
            found.append(f"{engine.name} #{seen[engine.name]}")
    return found


def energy_fault(measurement: Measurement) -> str:
    """Why the energy of a measurement is not the engine's, or not to be trusted; empty when it is."""
    return _first(measurement, _energy_fault)


def slowdown(measurement: Measurement) -> str:
    """Why the times and rates of a measurement are not the engine's own; empty when they are."""
    return _first(measurement, lambda trace: trace.conditions.slowdown)


def _energy_fault(trace: DeviceTrace) -> str:
    if trace.conditions.newcomers:
        others = ", ".join(map(str, trace.conditions.newcomers))
        return f"others computed on the device during the test, and their energy is counted too: {others}"
    return trace.energy.fault


def _first(measurement: Measurement, fault: Callable[[DeviceTrace], str]) -> str:
    return next((_said_of(t.device, text) for t in measurement.devices if (text := fault(t))), "")


def _said_of(device: Device, text: str) -> str:
    return text if text.startswith(device.name) else f"{_name(device)}: {text}"


def _name(device: Device) -> str:
    """``NVIDIA L4 GPU-1a2b3c4d``: enough to tell two of a kind apart."""
    return f"{device.name} {device.uuid[:12]}".rstrip()
