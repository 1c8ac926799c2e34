"""The device to check, with everything that the sampler asks of it, and the time that each call of the driver takes."""

from __future__ import annotations

import os
import time
from ctypes import byref
from typing import TYPE_CHECKING, Any

from pytest_llmperf.telemetry.records.source import SourceError, Why
from pytest_llmperf.telemetry.sources.nvml.abi import MEMORY_CALLS, MemoryV1, MemoryV2
from pytest_llmperf.telemetry.sources.nvml.backend import NvmlDriver
from pytest_llmperf.telemetry.sources.nvml.errors import NvmlRefusal, explain_refusal
from pytest_llmperf.telemetry.sources.nvml.listing import list_devices
from pytest_llmperf.telemetry.sources.nvml.processes import ProcessList
from pytest_llmperf.telemetry.sources.nvml.sources import (
    EnergySource,
    MemorySource,
    NvmlDevice,
    SensorSource,
    StateSource,
)
from pytest_llmperf.telemetry.visible_devices import filter_visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.device_trace import DeviceProcess
    from pytest_llmperf.telemetry.records.source import DeviceFacts


class CallTimes:
    """Nanoseconds of every call of the driver, by the name of its C function."""

    def __init__(self) -> None:
        self.of: dict[str, list[int]] = {}
        self._name = ""
        self._begun_ns = 0

    def enter(self, name: str) -> None:
        self._name, self._begun_ns = name, time.perf_counter_ns()

    def leave(self) -> None:
        self.of.setdefault(self._name, []).append(time.perf_counter_ns() - self._begun_ns)


class Gpu:
    """One device, through the sources that the sampler reads."""

    def __init__(self, driver: NvmlDriver, part: NvmlDevice, times: CallTimes) -> None:
        if part.memory is None:
            raise SourceError(part.facts.no_memory, Why.ABSENT)
        self.driver, self.part, self.times = driver, part, times
        self.facts = part.facts
        self.api = part.memory
        self.memory = MemorySource(driver, part, part.memory)
        self.sensors = SensorSource(driver, part)
        self.state = StateSource(driver, part)
        self.energy = EnergySource(driver, part)
        self._list = ProcessList(driver, part)

    def level(self) -> int:
        """Allocated bytes, as the sampler reads them."""
        return self.memory.read(0)[0].value

    def ask_memory(self, version: type[MemoryV1 | MemoryV2]) -> MemoryV1 | MemoryV2 | int:
        """What the driver's memory call of this version says now, or its error code."""
        memory = version()
        code = self.driver.call(self.part, MEMORY_CALLS[version], byref(memory))
        return code or memory

    def processes(self) -> list[DeviceProcess]:
        return self._list.read()


class Host:
    """NVML on this machine, in this process.

    Raises:
        SourceError: there is no GPU to be used; the sentence says why.
    """

    def __init__(self) -> None:
        self.times = CallTimes()
        self.driver = NvmlDriver(self.times.enter, self.times.leave)
        self.driver.start()
        parts, self.unlisted = list_devices(self.driver, self._ask("number of GPUs", "nvmlDeviceGetCount"))
        self._parts = {part.facts.slot: part for part in parts}
        self.version = str(self._ask("driver version", "nvmlSystemGetDriverVersion"))

    def _ask(self, what: str, call: str) -> Any:
        try:
            return self.driver.ask_with_restart(call)
        except NvmlRefusal as refused:
            raise explain_refusal(refused.code, "NVML", what, call) from None

    @property
    def devices(self) -> Sequence[DeviceFacts]:
        return [part.facts for part in self._parts.values()]

    def gpu(self, wanted: str | None) -> Gpu:
        """The first of the devices that a CUDA_VISIBLE_DEVICES like this names; None: the caller's own."""
        value = os.environ.get("CUDA_VISIBLE_DEVICES") if wanted is None else wanted
        found = filter_visible(self.devices, value)
        if not found:
            reasons = "; ".join(self.unlisted)
            raise SourceError(reasons or f"no GPU of this machine is one of {value!r}", Why.UNAVAILABLE)
        return Gpu(self.driver, self._parts[found[0].slot], self.times)

    def close(self) -> None:
        self.driver.stop()
