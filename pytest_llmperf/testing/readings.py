"""The readings of a scripted device at one moment, in the units of NVML; None if it has no such sensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.testing.scenario import Curve, ScriptedDevice, ScriptedMemory, ScriptedProcess

_SECOND = 10**9
# Clock event reasons by the field that counts the time spent in each.
_REASONS = {74: 0x4, 75: 0x20, 76: 0x10, 77: 0x200, 79: 0x400, 269: 0x20, 270: 0x40, 271: 0x80}

UNSIGNED_INT, UNSIGNED_LONG_LONG = 1, 3
"""Types of field values."""


def value_at(curve: Curve | None, now_ns: int) -> int | None:
    """The value of a curve at this moment."""
    if curve is None or isinstance(curve, int):
        return curve
    value = curve[0][1]
    for t_ns, step in curve:
        if t_ns > now_ns:
            break
        value = step
    return value


def integral(curve: Curve, start_ns: int, end_ns: int) -> int:
    """The area under a curve between two moments, in its unit times nanoseconds; exact."""
    steps = [(0, curve)] if isinstance(curve, int) else list(curve)
    ends = [t_ns for t_ns, _ in steps[1:]] + [max(end_ns, steps[-1][0])]
    begins = [min(start_ns, steps[0][0])] + [t_ns for t_ns, _ in steps[1:]]
    return sum(
        value * max(0, min(end, end_ns) - max(begin, start_ns))
        for (_, value), begin, end in zip(steps, begins, ends, strict=True)
    )


def sum_allocated(part: ScriptedMemory, now_ns: int) -> int:
    """The memory that programs hold, in bytes: curve plus spikes, at most what there is."""
    used = (value_at(part.used, now_ns) or 0) + sum(s.size for s in part.spikes if s.start_ns <= now_ns < s.end_ns)
    return max(0, min(used, part.total - part.reserved))


def is_alive(process: ScriptedProcess, now_ns: int) -> bool:
    """Whether the process runs at this moment."""
    return process.start_ns <= now_ns < process.end_ns


def average_power(device: ScriptedDevice, now_ns: int) -> int | None:
    """The mean power of the last second in mW."""
    if device.power is None or not device.power_averaged:
        return None
    return integral(device.power, now_ns - _SECOND, now_ns) // _SECOND


def instant_power(device: ScriptedDevice, now_ns: int) -> int | None:
    """The power at this moment in mW."""
    return value_at(device.power, now_ns)


def power_usage(device: ScriptedDevice, now_ns: int) -> int | None:
    """The power in mW as nvmlDeviceGetPowerUsage gives it: the mean if ``power_averaged`` is set."""
    return average_power(device, now_ns) if device.power_averaged else instant_power(device, now_ns)


def energy(device: ScriptedDevice, now_ns: int) -> int | None:
    """The energy counter at its last tick in mJ."""
    if device.power is None or device.energy_tick_ns is None:
        return None
    tick = now_ns - now_ns % device.energy_tick_ns
    picojoules = integral(device.power, device.energy_start_ns, tick)
    return device.energy_base + picojoules * device.energy_percent // (100 * _SECOND)


def event_reasons(device: ScriptedDevice, now_ns: int) -> int:
    """The mask of clock event reasons, in NVML's bits."""
    mask = device.event_reasons
    for throttle in device.throttles:
        if throttle.start_ns <= now_ns < throttle.end_ns:
            mask |= _REASONS.get(throttle.field, 0)
    return mask


def make_throttle_counter(field: int) -> Callable[[ScriptedDevice, int], int | None]:
    """The reader of one reason's counter, in ns."""

    def read(device: ScriptedDevice, now_ns: int) -> int | None:
        if field not in device.throttle_fields:
            return None
        spans = (t for t in device.throttles if t.field == field)
        return device.throttle_base + sum(max(0, min(t.end_ns, now_ns) - t.start_ns) for t in spans)

    return read


def field_value(device: ScriptedDevice, field: int, now_ns: int) -> tuple[int, int] | None:
    """Type and value of a field; None if the device does not have it."""
    if field not in _FIELDS:
        return None
    kind, read = _FIELDS[field]
    value = read(device, now_ns)
    return None if value is None else (kind, value)


_FIELDS: dict[int, tuple[int, Callable[[ScriptedDevice, int], int | None]]] = {
    **{
        field: (UNSIGNED_LONG_LONG, make_throttle_counter(field))
        for field in (74, 75, 76, 77, 78, 79, 80, 81, 269, 270, 271)
    },
    82: (UNSIGNED_INT, lambda device, now_ns: value_at(device.memory_temperature, now_ns)),
    83: (UNSIGNED_LONG_LONG, energy),
    185: (UNSIGNED_INT, average_power),
    186: (UNSIGNED_INT, instant_power),
    190: (UNSIGNED_INT, lambda device, _: device.power_limit),
    191: (UNSIGNED_LONG_LONG, energy),
}
