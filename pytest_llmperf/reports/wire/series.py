"""What changed while a test ran, as lines to draw: plain data for reports that show it, which no other one keeps."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.wire.numbers import ROUGH, to_number
from pytest_llmperf.reports.wire.timeline import downsample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.engine_info import Device
    from pytest_llmperf.measurement.measurement import Measurement

LINE_POINTS = 128
MOST_SPANS = 64
"""Of the times in which clocks were held back: the longest ones."""
HOST = "host"


def series_to_wire(measurement: Measurement) -> dict[str, Any]:
    """Lines of at most ``LINE_POINTS`` points each, with their extremes; what is not known is empty.

    Times are seconds from the start of the window. Memory and clocks are by the name of the device, ``host`` for the
    memory of the engine's processes on the host. ``pressure`` is the mean over the window, at its two ends.
    """
    start_ns, end_ns = measurement.window.start_ns, measurement.window.end_ns
    seconds = to_seconds(end_ns, start_ns)
    names = _name_devices([trace.device for trace in measurement.devices])
    traces = list(zip(names, measurement.devices, strict=True))
    levels = {name: trace.memory.samples for name, trace in traces}
    if measurement.memory is not None:
        levels[HOST] = measurement.memory.samples
    spans = [span for _, trace in traces for span in trace.conditions.throttled_spans]
    longest = sorted(sorted(spans, key=lambda span: span[0] - span[1])[:MOST_SPANS])
    pressure = to_number(measurement.host.pressure.get("cpu"), ROUGH) if measurement.host else None
    return {
        "start_s": 0.0,
        "end_s": seconds,
        "memory": {name: _draw(samples, start_ns, end_ns) for name, samples in levels.items()},
        "clocks": {
            name: _draw(trace.conditions.clock_samples, start_ns, end_ns)
            for name, trace in traces
            if trace.conditions.clock_samples
        },
        "throttle": [[to_seconds(a, start_ns), to_seconds(b, start_ns), str(reason)] for a, b, reason in longest],
        "pressure": [] if pressure is None else [[0.0, pressure], [seconds, pressure]],
        "kv": _draw(measurement.kv_levels, start_ns, end_ns),
    }


def to_seconds(at_ns: int, start_ns: int) -> float:
    """A moment in s from ``start_ns``, to 0.1 ms."""
    return round((int(at_ns) - int(start_ns)) / 1e9, 4)


def _draw(samples: Sequence[tuple[int, int]], start_ns: int, end_ns: int) -> list[list[float | int]]:
    """The line of these samples; those just outside of the window stand at its edges."""
    return [
        [to_seconds(min(max(at_ns, start_ns), end_ns), start_ns), int(value)]
        for at_ns, value in downsample(samples, LINE_POINTS)
    ]


def _name_devices(devices: Sequence[Device]) -> list[str]:
    """The name of each, with a number where several are called the same: ``NVIDIA L4 #2``."""
    of_name = Counter(device.name for device in devices)
    seen: Counter[str] = Counter()
    names = []
    for device in devices:
        seen[device.name] += 1
        names.append(f"{device.name} #{seen[device.name]}" if of_name[device.name] > 1 else str(device.name))
    return names
