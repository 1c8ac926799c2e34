"""Scenarios of scripted GPUs: plain data that a test may change at any time.

All times are nanoseconds on the scenario's clock: that of ``time.monotonic_ns()``, or the test's own where
``Scenario.now_ns`` is set. Sizes are bytes, power milliwatts, clocks MHz, temperatures degrees Celsius.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pytest_llmperf.testing.names import FIRST_DRIVER, FUNCTION_NAMES

Curve: TypeAlias = int | Sequence[tuple[int, int]]
"""One constant value, or steps ``(t_ns, value)`` in the order of time; before the first step its value holds."""

FOREVER = 2**63 - 1
ANY = "*"
"""The ``function`` of a fault or a delay that concerns every function."""

GIB = 2**30

_FIELD = re.compile(r"field:\d+")

THROTTLE_FIELDS = (74, 75, 76, 77, 78, 79, 269, 270, 271)
"""The fields that count nanoseconds of throttling, one reason each."""


@dataclass
class Spike:
    """Memory held from ``start_ns`` until just before ``end_ns``, on top of ``used``."""

    start_ns: int
    end_ns: int
    size: int


@dataclass
class Throttle:
    """The device is slowed down for the reason of this throttle field (``THROTTLE_FIELDS``) in this time."""

    field: int
    start_ns: int = 0
    end_ns: int = FOREVER


@dataclass
class ScriptedProcess:
    """A process in the list of a device. ``used=None``: NVML cannot tell its memory, as under WSL.

    The memory of the device is scripted apart, by ``used`` and ``spikes`` of the device: as with a real driver,
    the two need not agree. ``peak`` is what accounting mode shows, ``used`` where it is None.
    """

    pid: int
    used: int | None
    kind: Literal["compute", "graphics", "mps"] = "compute"
    name: str = "python"
    start_ns: int = 0
    end_ns: int = FOREVER
    peak: int | None = None


@dataclass(kw_only=True)
class ScriptedMemory:
    """The memory and processes of a GPU or a MIG instance.

    ``used`` is what programs have allocated, without ``reserved``, the driver's own part of ``total``.
    """

    uuid: str = ""
    name: str = "NVIDIA L4"
    total: int = 24 * GIB
    reserved: int = 0
    used: Curve = 0
    spikes: list[Spike] = field(default_factory=list)
    processes: list[ScriptedProcess] = field(default_factory=list)


@dataclass(kw_only=True)
class ScriptedInstance(ScriptedMemory):
    """A MIG instance: memory and processes of its own, no sensors. Without a UUID the scenario gives it one."""

    name: str = "NVIDIA A100 MIG 1g.5gb"
    total: int = 5 * GIB
    gpu_instance: int = 1
    compute_instance: int = 0


@dataclass(kw_only=True)
class ScriptedDevice(ScriptedMemory):
    """A GPU. A sensor that is None answers NotSupported. Without UUID and PCI id the scenario gives it some.

    Attributes:
        mig: None where the GPU has no MIG; empty: MIG is off; else MIG is on with these instances.
        unified: GPU and CPU share one memory ("NVIDIA GB10"): memory queries answer NotSupported.
        power: what the board draws; field 186 shows it as it is, field 185 the mean of the last second.
        power_averaged: nvmlDeviceGetPowerUsage gives the mean, as on Ampere and later; else there is no field 185.
        energy_tick_ns: the energy counter moves only so often; None: there is no counter.
        energy_start_ns: when the counter was at ``energy_base`` mJ; move it to script a reload of the driver.
        energy_percent: what the counter counts of the power, for counters that disagree with it.
        throttle_base: where each throttle counter stood before the first scripted throttle, ns.
        event_reasons: the mask of clock event reasons apart from those of ``throttles``.
    """

    pci_bus_id: str = ""
    pci_device_id: int = 0x27B810DE
    architecture: int = 8
    unified: bool = False
    mig: list[ScriptedInstance] | None = None
    power: Curve | None = 30_000
    power_averaged: bool = True
    power_limit: int | None = 72_000
    energy_tick_ns: int | None = 100_000_000
    energy_start_ns: int = 0
    energy_base: int = 0
    energy_percent: int = 100
    throttles: list[Throttle] = field(default_factory=list)
    throttle_fields: Sequence[int] = THROTTLE_FIELDS
    throttle_base: int = 0
    event_reasons: int = 0
    temperature: Curve | None = 45
    memory_temperature: Curve | None = 50
    sm_clock: Curve | None = 2_040
    memory_clock: Curve | None = 6_251
    utilization: Curve | None = 0
    memory_utilization: Curve | None = 0
    accounting: bool = False
    persistence: bool = True


@dataclass
class Fault:
    """Calls of ``function`` return ``code`` instead of an answer.

    ``function`` may be ``ANY``, or ``"field:186"`` for one value of nvmlDeviceGetFieldValues. ``device`` is the UUID
    of a GPU, whose instances fail with it, or of an instance; None means every call. Of the calls from ``at_ns`` on
    the first ``after`` still succeed; then ``times`` fail, with 0 all of them. ``seen`` counts the calls it met.

    Raises:
        ValueError: NVML, as far as it is scripted, has no such function.
    """

    function: str
    code: int
    device: str | None = None
    after: int = 0
    at_ns: int = 0
    times: int = 0
    seen: int = field(default=0, init=False, compare=False)

    def __post_init__(self) -> None:
        if not _FIELD.fullmatch(self.function):
            _check_function(self.function)


@dataclass
class Delay:
    """Each call of ``function`` takes ``ns`` longer, asleep or spinning; ``FOREVER``: it hangs till this is gone."""

    function: str
    ns: int
    spin: bool = False

    def __post_init__(self) -> None:
        _check_function(self.function)


@dataclass
class Scenario:
    """A host with these GPUs, in the order of their NVML indices.

    Attributes:
        now_ns: the clock of the scenario where the test moves it by hand; None: ``time.monotonic_ns()``.
        missing: functions this driver does not have, besides those its version is too old for.
        v2_used_includes_reserved: the driver counts ``reserved`` into the ``used`` of nvmlDeviceGetMemoryInfo_v2.

    Raises:
        ValueError: two devices have one UUID, or the steps of a curve are not in the order of time.
    """

    devices: list[ScriptedDevice] = field(default_factory=list)
    now_ns: int | None = None
    driver_version: str = "580.95.05"
    nvml_version: str = "13.580.95.05"
    cuda_version: int = 13_000
    v2_used_includes_reserved: bool = False
    missing: frozenset[str] = frozenset()
    faults: list[Fault] = field(default_factory=list)
    delays: list[Delay] = field(default_factory=list)

    def __post_init__(self) -> None:
        for index, device in enumerate(self.devices):
            device.uuid = device.uuid or f"GPU-00000000-0000-0000-0000-{index:012x}"
            device.pci_bus_id = device.pci_bus_id or f"00000000:{index + 1:02X}:00.0"
            for number, instance in enumerate(device.mig or ()):
                instance.uuid = instance.uuid or f"MIG-00000000-0000-0000-{index:04x}-{number:012x}"
        parts = self.parts()
        if len({part.uuid for part in parts}) < len(parts):
            raise ValueError("two scripted devices have the same UUID")
        for part in parts:
            _check_curves(part)

    def parts(self) -> list[ScriptedMemory]:
        """All that has a handle: the GPUs, then the MIG instances of the first GPU, of the second, and so on."""
        return [*self.devices, *(instance for device in self.devices for instance in device.mig or ())]

    def list_absent(self) -> frozenset[str]:
        """The functions that the driver does not have."""
        branch = int(self.driver_version.split(".")[0])
        return self.missing | {name for name, first in FIRST_DRIVER.items() if branch < first}


def _check_function(name: str) -> None:
    if name != ANY and name not in FUNCTION_NAMES:
        raise ValueError(f"there is no scripted function {name}")


def _check_curves(part: ScriptedMemory) -> None:
    for name, curve in vars(part).items():
        if name in _CURVES and curve is not None and not isinstance(curve, int):
            times = [t_ns for t_ns, _ in curve]
            if not times or times != sorted(times):
                raise ValueError(f"{part.name}: the steps of {name} are not in the order of time")


_CURVES = {
    name for kind in (ScriptedMemory, ScriptedDevice) for name, of in kind.__annotations__.items() if "Curve" in of
}
