"""The device backend for NVIDIA GPUs, in the sampler process: starts NVML, lists devices, makes their sources."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_llmperf.telemetry.records.source import DeviceFacts, SourceError, Why
from pytest_llmperf.telemetry.sources.nvml.abi import DEVICE_NODE
from pytest_llmperf.telemetry.sources.nvml.errors import (
    NO_PACKAGE,
    OLD_PACKAGE,
    Code,
    NvmlRefusal,
    explain_refusal,
    explain_start_failure,
)
from pytest_llmperf.telemetry.sources.nvml.listing import list_devices
from pytest_llmperf.telemetry.sources.nvml.processes import ProcessList
from pytest_llmperf.telemetry.sources.nvml.sources import (
    EnergySource,
    MemorySource,
    NvmlDevice,
    SensorSource,
    StateSource,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.measurement.device_trace import DeviceProcess
    from pytest_llmperf.telemetry.sources.nvml.sources import Call

    _T = TypeVar("_T")


def _no_note(*_: object) -> None:
    """Ignores the call."""


class NvmlDriver:
    """NVML, started once in each process that uses it; a fork starts it again and gets new handles.

    It calls ``enter`` with the name of each C function before the call, and ``leave`` after it, so that another process
    can name a call that never returns.
    """

    def __init__(self, enter: Callable[[str], None] = _no_note, leave: Callable[[], None] = _no_note) -> None:
        self.parts: list[NvmlDevice] = []
        self._enter = enter
        self._leave = leave
        self._nvml: Any = None
        self._pid = 0
        self._starts = 0
        self._lock = threading.Lock()

    def start(self) -> None:
        """Starts NVML unless it runs in this process.

        Raises:
            SourceError: it cannot be used; the sentence says what to do.
        """
        if self._pid != os.getpid():
            self._restart(self._starts)

    def _restart(self, starts: int) -> None:
        """Starts NVML again if it was started ``starts`` times so far, i.e. unless another thread has done so."""
        with self._lock:
            if starts != self._starts:
                return
            self._nvml = import_pynvml()
            try:
                self._call_noted("nvmlInit", self._nvml.nvmlInit)
            except self._nvml.NVMLError as error:
                raise explain_start_failure(error.value, device_node=DEVICE_NODE.exists()) from None
            self._starts += 1
            self._pid = os.getpid()
            for device in self.parts:
                with contextlib.suppress(NvmlRefusal):  # the old handle then fails with its own reason
                    device.handle = self.ask("nvmlDeviceGetHandleByUUID", device.facts.uuid)

    def _call_noted(self, name: str, function: Callable[..., _T], *arguments: object) -> _T:
        self._enter(name)
        try:
            return function(*arguments)
        finally:
            self._leave()

    def ask(self, name: str, *arguments: object) -> Any:
        """The answer of a ``pynvml`` function.

        Raises:
            NvmlRefusal: the driver gave an error instead.
        """
        try:
            return self._call_noted(name, getattr(self._nvml, name), *arguments)
        except self._nvml.NVMLError as error:
            raise NvmlRefusal(int(error.value)) from None

    def ask_with_restart(self, name: str, *arguments: object) -> Any:
        """The answer of a function that needs no handle; starts NVML again if it was shut down.

        Raises:
            NvmlRefusal: the driver gave an error instead.
        """
        starts = self._starts
        try:
            return self.ask(name, *arguments)
        except NvmlRefusal as refused:
            if refused.code != Code.UNINITIALIZED:
                raise
        self._restart(starts)
        return self.ask(name, *arguments)

    def bind(self, name: str) -> Call:
        """The C function of this name; if the driver has none, one that returns FUNCTION_NOT_FOUND."""
        function: Call | None = getattr(self._nvml.nvmlLib, name, None)
        return function or (lambda *_: Code.FUNCTION_NOT_FOUND)

    def call(self, device: NvmlDevice, name: str, *arguments: object) -> int:
        """Calls the C function for a device and returns its error code; starts NVML if it does not run.

        Raises:
            SourceError: NVML does not start again.
        """
        self.start()
        starts = self._starts
        code = self._call_noted(name, self.bind(name), device.handle, *arguments)
        if code == Code.UNINITIALIZED:
            self._restart(starts)
            code = self._call_noted(name, self.bind(name), device.handle, *arguments)
        return code

    def stop(self) -> None:
        """Shuts NVML down in this process. May be called twice."""
        if self._pid == os.getpid():
            self._pid = 0
            with contextlib.suppress(NvmlRefusal):  # other code of this process has shut it down already
                self.ask("nvmlShutdown")


def import_pynvml() -> Any:
    """The module ``pynvml``.

    Raises:
        SourceError: it is not installed, or too old.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an abandoned package of the same name warns on import
            import pynvml
    except ImportError:
        raise SourceError(NO_PACKAGE, Why.UNAVAILABLE) from None
    if not hasattr(pynvml, "nvmlMemory_v2"):
        raise SourceError(OLD_PACKAGE, Why.UNAVAILABLE)
    return pynvml


class NvmlBackend:
    """The NVIDIA devices of this host. See :class:`NvmlDriver` for ``enter`` and ``leave``.

    Attributes:
        unlisted: why GPUs that the driver counts are not among the devices, one sentence for each.
    """

    name = "nvml"

    def __init__(self, enter: Callable[[str], None] = _no_note, leave: Callable[[], None] = _no_note) -> None:
        self.unlisted: tuple[str, ...] = ()
        self._driver = NvmlDriver(enter, leave)
        self._lists: dict[int, ProcessList] = {}

    def devices(self) -> list[DeviceFacts]:
        """The GPUs in the driver's order, then the MIG instances of each; they keep their slots.

        Raises:
            SourceError: NVML cannot be used, or shows no GPU.
        """
        self._driver.start()
        if not self._driver.parts:
            self._driver.parts = self._list()
        return [device.facts for device in self._driver.parts]

    def _list(self) -> list[NvmlDevice]:
        count = self._ask("number of GPUs", "nvmlDeviceGetCount")
        parts, self.unlisted = list_devices(self._driver, count)
        if not parts and self.unlisted:
            raise SourceError("; ".join(self.unlisted), Why.UNAVAILABLE)
        if not parts:
            raise explain_start_failure(Code.GPU_NOT_FOUND, device_node=True)
        return parts

    def _device(self, slot: int) -> NvmlDevice:
        self.devices()
        return self._driver.parts[slot]

    def memory(self, slot: int) -> MemorySource:
        """The source of a device's level; each thread needs its own.

        Raises:
            SourceError: its memory cannot be read; the message is ``DeviceFacts.no_memory``.
        """
        device = self._device(slot)
        if device.memory is None:
            raise SourceError(device.facts.no_memory, Why.ABSENT)
        return MemorySource(self._driver, device, device.memory)

    def sensors(self, slot: int) -> SensorSource:
        """The source of power, energy, throttle times and memory temperature; for a MIG instance its GPU's."""
        return SensorSource(self._driver, self._device(slot))

    def energy(self, slot: int) -> EnergySource:
        """The source of the energy counter; for a MIG instance its GPU's."""
        return EnergySource(self._driver, self._device(slot))

    def state(self, slot: int) -> StateSource:
        """The source of temperature, clock, utilization and event reasons; for a MIG instance its GPU's."""
        return StateSource(self._driver, self._device(slot))

    def processes(self, slot: int) -> list[DeviceProcess]:
        """The processes that compute on a device, with pids as the driver states them.

        Raises:
            SourceError: the driver gives no list, or an impossible one.
        """
        if slot not in self._lists:
            self._lists[slot] = ProcessList(self._driver, self._device(slot))
        return self._lists[slot].read()

    def driver_version(self) -> str:
        """The version of the driver: ``580.95.05``.

        Raises:
            SourceError: NVML cannot be used.
        """
        self._driver.start()
        return str(self._ask("driver version", "nvmlSystemGetDriverVersion"))

    def cuda_version(self) -> str:
        """The newest CUDA that the driver supports: ``13.0``.

        Raises:
            SourceError: NVML cannot be used.
        """
        self._driver.start()
        number = int(self._ask("CUDA version", "nvmlSystemGetCudaDriverVersion_v2"))
        return f"{number // 1000}.{number % 1000 // 10}"

    def _ask(self, what: str, name: str) -> Any:
        """The answer of a function about no single device."""
        try:
            return self._driver.ask_with_restart(name)
        except NvmlRefusal as refused:
            raise explain_refusal(refused.code, "NVML", what, name) from None

    def close(self) -> None:
        """Shuts NVML down. May be called twice."""
        self._driver.stop()
