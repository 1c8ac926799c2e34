"""One device over time: memory, energy, and the state that it was in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.measurement.engine_info import Device
    from pytest_llmperf.measurement.memory_trace import MemoryTrace
    from pytest_llmperf.measurement.window import Window


@dataclass(frozen=True)
class DeviceProcess:
    """A process that computes on a device.

    Attributes:
        pid: as the driver gives it.
        name: of its program; empty if it cannot be seen from here (another container, or it has ended).
        used_bytes: its memory on the device; None if the driver does not say.
    """

    pid: int
    name: str = ""
    used_bytes: int | None = None

    def __str__(self) -> str:
        return f"{self.pid} ({self.name})" if self.name else str(self.pid)


@dataclass(frozen=True)
class Energy:
    """What a device consumed over a window.

    Attributes:
        joules: by its energy counter; None for the ``reason``.
        above_idle_joules: less what the idle device would have consumed; None if that is not known.
        idle_watts: the power of the device before any engine ran; None if not known.
        instant_watts: the mean of the instant power, which ``joules`` is compared with; None if not read.
        tick_seconds: the time between two updates of the counter; None if not known.
        how: how the joules were measured, in words.
        reason: why there are no joules; empty if there are.
        fault: why the joules cannot be trusted (counter and instant power disagree); empty if they can.
    """

    joules: float | None = None
    above_idle_joules: float | None = None
    idle_watts: float | None = None
    instant_watts: float | None = None
    tick_seconds: float | None = None
    how: str = ""
    reason: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Conditions:
    """The state of a device over a window. A value is None if the device does not give it.

    Attributes:
        throttled_seconds: how long the clocks were held back, by reason (``hardware thermal``, ...).
        temperature_c, memory_temperature_c: at the start and at the end, in °C.
        sm_clock_mhz: the mean clock in MHz.
        utilization: the mean share of the time in which a kernel ran.
        newcomers: foreign processes that came to the device since the session began.
        slowdown: why times and rates are not the engine's own; empty if they are.
        unknown: for each value that the device does not give, why.
        clock_samples: pairs of time in ns and the clock in MHz, inside the window.
        throttled_spans: from when to when, in ns, and for which reason samples show the clocks held back.
    """

    throttled_seconds: Mapping[str, float] = field(default_factory=dict)
    temperature_c: tuple[float, float] | None = None
    memory_temperature_c: tuple[float, float] | None = None
    sm_clock_mhz: float | None = None
    utilization: float | None = None
    newcomers: tuple[DeviceProcess, ...] = ()
    slowdown: str = ""
    unknown: tuple[str, ...] = ()
    clock_samples: tuple[tuple[int, int], ...] = ()
    throttled_spans: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True)
class DeviceTrace:
    """One device over a window: the engine's memory on it, its energy, and the state it was in.

    ``total_bytes`` is the size of the device's memory; None if it is not known.
    """

    device: Device
    memory: MemoryTrace
    energy: Energy = Energy(reason="no energy counter was read")
    conditions: Conditions = Conditions()
    total_bytes: int | None = None

    def cut(self, window: Window) -> DeviceTrace:
        """The part inside ``window``; energy and conditions are read for whole tests only."""
        energy = Energy(reason="energy is measured for a whole test, not for a part of it")
        return DeviceTrace(self.device, self.memory.cut(window), energy, total_bytes=self.total_bytes)
