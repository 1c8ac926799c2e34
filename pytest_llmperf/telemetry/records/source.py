"""What the sampler process reads, behind one protocol: process trees, devices through NVML, exporters.

A :class:`Source` is read again and again by a lane (a thread of the sampler process) and answers with records for that
lane's ring. A :class:`Backend` lists devices and makes sources for them. Everything here is plain values: it crosses
from the sampler process to pytest as integers in a ring or as JSON.
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
    """Why there is no reading, which decides what follows."""

    UNAVAILABLE = "unavailable"
    """The whole backend cannot be used: no library, no driver, a driver of another version."""
    ABSENT = "absent"
    """This device does not have it, or the caller may not see it; it is not asked again."""
    TRANSIENT = "transient"
    """This once; the next reading may succeed."""
    LOST = "lost"
    """The device itself is gone; whatever was measured on it is void."""


class SourceError(Exception):
    """There is no such reading; the message is one sentence that names the cause and, where there is one, the cure."""

    def __init__(self, message: str, why: Why) -> None:
        super().__init__(message)
        self.why = why


class Source(Protocol):
    """Something that is read at a lane's pace."""

    def read(self, t_ns: int) -> Sequence[RingRecord]:
        """The records of now; every one carries ``t_ns``.

        Raises:
            SourceError: there is none; ``why`` says whether to ask again.
        """

    def close(self) -> None:
        """Frees what it holds; it is not read again."""


class LevelSource(Source, Protocol):
    """Gives the level of a device, at the full rate."""

    driver_ns: int
    """How long the driver took for the last reading."""


class Gauge(Source, Protocol):
    """Gives several quantities of a device at once, as many of them as there are."""

    missing: dict[tuple[int, int], str]
    """Why a quantity is never given, by kind and detail of its record."""


@dataclass(frozen=True)
class DeviceFacts:
    """A device as a backend lists it. ``slot`` is its key in records, unique in a sampler.

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
