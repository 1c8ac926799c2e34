"""The processes on an NVIDIA device, as its driver lists them; the driver may hold its lock for milliseconds."""

from __future__ import annotations

from ctypes import byref, c_uint
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.device_trace import DeviceProcess
from pytest_llmperf.telemetry.records.source import SourceError, Why
from pytest_llmperf.telemetry.sources.nvml.abi import ProcessInfo
from pytest_llmperf.telemetry.sources.nvml.errors import Code, NvmlRefusal, Refusals, name_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.telemetry.sources.nvml.sources import NvmlCalls, NvmlDevice

_COMPUTE = "nvmlDeviceGetComputeRunningProcesses"
_MPS = "nvmlDeviceGetMPSComputeRunningProcesses"
# The third version takes the same structure as the second, of drivers before 510.
_VERSIONS = ("_v3", "_v2")
_NO_SUCH_LIST = (Code.FUNCTION_NOT_FOUND, Code.NOT_SUPPORTED)
_ROOM = 32
_TRIES = 4
# From here on a size is none (2**64 - 1 says that it is not available); sums of what is below it fit a record.
_IMPOSSIBLE = 2**48
_IMPOSSIBLE_PIDS = (0, 2**32 - 1)


class ProcessList:
    """Reads the compute processes of one device, including clients of MPS."""

    def __init__(self, driver: NvmlCalls, device: NvmlDevice) -> None:
        self._driver = driver
        self._device = device
        self._infos = (ProcessInfo * _ROOM)()
        self._kinds = [(_COMPUTE, Refusals(device.facts)), (_MPS, Refusals(device.facts))]

    def read(self) -> list[DeviceProcess]:
        """Each process once, with the sum of what it holds in all instances.

        Raises:
            SourceError: the driver gives no list, or an impossible one.
        """
        found: dict[tuple[int, ...], int] = {}
        for kind, refusals in tuple(self._kinds):
            code = self._list(kind, found)
            if not code:
                refusals.in_a_row = 0
                continue
            error = refusals.judge(code, "list of processes", kind)
            if kind == _COMPUTE or code not in _NO_SUCH_LIST:
                raise error
            if error.why is Why.ABSENT:  # this driver or device knows no MPS
                self._kinds.pop()
        pids = sorted({pid for pid, *_ in found})
        if any(pid in _IMPOSSIBLE_PIDS for pid in pids):
            sentence = "the driver's list of processes is scrambled: it and its library may be of different versions"
            raise SourceError(f"{name_device(self._device.facts)}: {sentence}", Why.TRANSIENT)
        by_pid = {pid: [used for of, used in found.items() if of[0] == pid] for pid in pids}
        return [DeviceProcess(pid, self._name(pid), _sum(held)) for pid, held in by_pid.items()]

    def _list(self, kind: str, found: dict[tuple[int, ...], int]) -> int:
        """Adds what each process holds in each instance to ``found``; returns an error code."""
        code: int = Code.FUNCTION_NOT_FOUND
        for name in (kind + version for version in _VERSIONS):
            for _ in range(_TRIES):
                count = c_uint(len(self._infos))
                code = self._driver.call(self._device, name, byref(count), self._infos)
                if code != Code.INSUFFICIENT_SIZE:
                    break
                self._infos = (ProcessInfo * (2 * count.value + _ROOM))()
            if code != Code.FUNCTION_NOT_FOUND:
                break
        if not code:
            for info in self._infos[: count.value]:
                found[info.pid, info.gpuInstanceId, info.computeInstanceId] = info.usedGpuMemory
        return code

    def _name(self, pid: int) -> str:
        try:
            name = PurePosixPath(self._driver.ask("nvmlSystemGetProcessName", pid).split(" ")[0]).name
            if name:
                return name
        except (NvmlRefusal, UnicodeDecodeError):
            pass  # it has ended, or is of another container
        try:
            return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""


def _sum(devices: Sequence[int]) -> int | None:
    """What a process holds in all, in bytes; None if the driver states 0 or an impossible size for a part of it."""
    return None if 0 in devices or sum(devices) >= _IMPOSSIBLE else sum(devices)
