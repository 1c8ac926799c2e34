"""What the host did while a test was measured: whether the engine got its cores, and what held the machine back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

RESOURCES = ("cpu", "memory", "io")


@dataclass(frozen=True)
class ThreadTimes:
    """What the threads of an engine's processes did over a window, added up, in seconds.

    Attributes:
        ran: on a core.
        waited: runnable, and without a core.
    """

    ran: float
    waited: float

    @property
    def share_waited(self) -> float:
        """The share of the time in which they wanted a core that they had none; 0 if they never wanted one."""
        wanted = self.ran + self.waited
        return self.waited / wanted if wanted else 0.0


@dataclass(frozen=True)
class HostState:
    """The host over a window. A value is None, or missing in its mapping, if the host does not tell it.

    Attributes:
        seconds: the length of the window in which the counters were read.
        threads: of the engine's processes.
        processors: how many the host has.
        busy_cores: the mean number of cores that were in use, by anyone.
        steal: the share of the processors' time that the hypervisor gave to other machines.
        pressure: by ``cpu``, ``memory`` and ``io``: the share of the window in which some task of the host waited.
        cgroup_pressure: the same of the engine's cgroup.
        throttled_periods: the share of the quota periods of the engine's cgroup in which it was throttled.
        throttled_seconds: how long the processors of that cgroup were throttled, added up over the processors.
        swapped_in_bytes: what the host read back from swap.
        frequency_limit: the lowest limit on a processor's clock, as a share of its largest clock, at the end.
        thermal_throttles: how often processors were slowed down because of their temperature.
        on_battery: whether the host ran on its battery at the end.
        unknown: for each of these that is not known, why.
    """

    seconds: float
    threads: ThreadTimes | None = None
    processors: int | None = None
    busy_cores: float | None = None
    steal: float | None = None
    pressure: Mapping[str, float] = field(default_factory=dict)
    cgroup_pressure: Mapping[str, float] = field(default_factory=dict)
    throttled_periods: float | None = None
    throttled_seconds: float | None = None
    swapped_in_bytes: int | None = None
    frequency_limit: float | None = None
    thermal_throttles: int | None = None
    on_battery: bool | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def other_cores(self) -> float | None:
        """The mean number of cores in use by others than the engine; None if one of the two is not known."""
        if self.busy_cores is None or self.threads is None or self.seconds <= 0:
            return None
        return max(0.0, self.busy_cores - self.threads.ran / self.seconds)
