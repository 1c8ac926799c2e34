"""The protocols of the sources that the sampler process reads, and the values that describe devices and failures.

A lane, which is a thread of the sampler process, reads a :class:`Source` again and again and writes its records into
the lane's ring. A :class:`DeviceBackend` lists devices and makes sources for them. All values here are plain: they
cross from the sampler process to pytest as integers in a ring or as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.device_trace import DeviceProcess
    from pytest_llmperf.telemetry.records.ring import RingRecord


SLOTS_PER_EXPORTER = 1000
"""The devices of one exporter have their slots in one block of this size."""


class Why(StrEnum):
    """The kind of a failed reading, which decides whether it is tried again."""

    UNAVAILABLE = "unavailable"
    """The whole backend cannot be used: there is no library, no driver, or a driver of another version."""
    ABSENT = "absent"
    """The device lacks this quantity, or the caller may not read it; it is not read again."""
    TRANSIENT = "transient"
    """This reading failed; the next may succeed."""
    LOST = "lost"
    """The device is gone; everything measured on it is void."""


class SourceError(Exception):
    """A reading failed; the message is one sentence with the cause and, if there is one, the cure."""

    def __init__(self, message: str, why: Why) -> None:
        super().__init__(message)
        self.why = why


class Source(Protocol):
    """Gives records each time a lane reads it."""

    def read(self, t_ns: int) -> Sequence[RingRecord]:
        """Reads once; every record carries ``t_ns``.

        Raises:
            SourceError: the reading failed; ``why`` says whether to read again.
        """

    def close(self) -> None:
        """Frees the resources of the source, which is not read again."""


class LevelSource(Source, Protocol):
    """Gives the memory level of a device, at the full sampling rate."""

    driver_ns: int
    """Time that the last reading spent in the driver, in ns."""


class Gauge(Source, Protocol):
    """Gives several quantities of a device at once: those that the device has."""

    missing: dict[tuple[int, int], str]
    """The reason why a quantity is never given, by lane and detail of its record."""


@dataclass(frozen=True)
class DeviceFacts:
    """A device as a backend lists it. ``slot`` is its key in records, unique in a sampler; ``kind`` is
    that of :class:`~pytest_llmperf.measurement.engine_info.Device`.

    ``total_bytes`` is None where memory is not read, with the reason in ``no_memory``. ``unified`` says that the
    device computes in the host's memory. ``parent`` is the UUID of the GPU that a MIG instance is a part of, or
    empty, and ``instance`` its ``<GPU instance>/<compute instance>``; ``has_instances`` says that MIG is on, so that
    work runs on its instances. ``memory_api`` names the call that gives the level (``NVML memory v2``,
    ``DCGM FB_USED``): levels of different calls are never compared.
    """

    slot: int
    uuid: str
    name: str
    index: int
    backend: str
    kind: str
    total_bytes: int | None = None
    no_memory: str = ""
    unified: bool = False
    parent: str = ""
    has_instances: bool = False
    memory_api: str = ""
    instance: str = ""


class DeviceBackend(Protocol):
    """Lists the devices of this host and makes the sources that read them. The driver lane calls it from its thread.

    The sources of a slot may be made several times; each is used by one thread.
    """

    def devices(self) -> Sequence[DeviceFacts]:
        """Every device, partitions included; a device keeps its slot.

        Raises:
            SourceError: the driver cannot be used, or it shows no device.
        """

    def memory(self, slot: int) -> LevelSource:
        """The source of DEVICE_MEMORY records.

        Raises:
            SourceError: the device's memory cannot be read.
        """

    def sensors(self, slot: int) -> Gauge:
        """The source of POWER, ENERGY, THROTTLE and MEMORY_TEMPERATURE records."""

    def state(self, slot: int) -> Gauge:
        """The source of REASONS, TEMPERATURE, SM_CLOCK and UTILIZATION records."""

    def energy(self, slot: int) -> Gauge:
        """The source of ENERGY records alone, read every few milliseconds at the edges of a test."""

    def processes(self, slot: int) -> Sequence[DeviceProcess]:
        """The processes that compute on the device, with pids as the driver states them.

        Raises:
            SourceError: the driver gives no list, or an impossible one.
        """
