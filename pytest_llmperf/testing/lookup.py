"""The arguments of a call of NVML, and the device or instance that they name.

Arguments arrive as ``pynvml`` passes them to a C function: ctypes values, and references to what is to be filled.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_llmperf.testing.scenario import Scenario, ScriptedDevice, ScriptedInstance, ScriptedMemory

SUCCESS, INVALID_ARGUMENT, NOT_SUPPORTED, NOT_FOUND, INSUFFICIENT_SIZE, VERSION_MISMATCH = 0, 2, 3, 6, 7, 25
ERRORS = {
    0: "Success",
    1: "Uninitialized",
    2: "Invalid Argument",
    3: "Not Supported",
    4: "Insufficient Permissions",
    6: "Not Found",
    7: "Insufficient Size",
    9: "Driver Not Loaded",
    10: "Timeout",
    12: "NVML Shared Library Not Found",
    13: "Function Not Found",
    15: "GPU is lost",
    16: "GPU requires reset",
    18: "Driver/library version mismatch",
    25: "Argument version mismatch",
    28: "No GPUs found",
}


class ScriptedRefusal(Exception):  # noqa: N818 - an answer, not an error of ours
    """The function returns this error code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class ScriptedHandle:
    """A GPU or a MIG instance, its handle, and its index among the GPUs or among the instances of its GPU."""

    handle: int
    device: ScriptedDevice
    instance: ScriptedInstance | None
    index: int

    @property
    def part(self) -> ScriptedMemory:
        """The instance, or the GPU if the handle is one of a GPU."""
        return self.instance or self.device


class ScriptedLibrary(Protocol):
    """The library as its functions use it; :class:`~pytest_llmperf.testing.NvmlDouble` is one."""

    scenario: Scenario
    users: int

    @property
    def now_ns(self) -> int:
        """The clock of the scenario."""

    def fail_as_scripted(self, function: str, target: ScriptedHandle | None) -> None:
        """Raises :class:`ScriptedRefusal` if a fault of the scenario says so."""


def list_handles(scenario: Scenario) -> list[ScriptedHandle]:
    """Everything that has a handle: the GPUs, then the instances of the first GPU, of the second, and so on."""
    handles = count(1)
    gpus = [ScriptedHandle(next(handles), device, None, index) for index, device in enumerate(scenario.devices)]
    return gpus + [
        ScriptedHandle(next(handles), gpu.device, instance, index)
        for gpu in gpus
        for index, instance in enumerate(gpu.device.mig or ())
    ]


# ------------------------------------------------------------------------------------------------ arguments


def read_number(value: Any) -> int:
    """The integer of an argument, which may be a ctypes value."""
    return int(value.value if hasattr(value, "value") else value)


def read_text(value: Any) -> str:
    """The text of an argument, which may be a ctypes value or bytes."""
    data = value.value if hasattr(value, "value") else value
    return data.decode() if isinstance(data, bytes) else str(data)


def dereference(reference: Any) -> Any:
    """The object that a reference (``byref``, ``pointer``, an array) refers to."""
    if hasattr(reference, "_obj"):
        return reference._obj
    return reference.contents if hasattr(reference, "contents") else reference


def read_items(reference: Any, number_of: int) -> list[Any]:
    """The first ``number_of`` elements of the array behind a reference."""
    array = dereference(reference) if hasattr(reference, "_obj") else reference
    return [array] if isinstance(array, ctypes.Structure) else [array[index] for index in range(number_of)]


def put(reference: Any, value: int | None) -> None:
    """Writes a value to where a reference points; None is refused as not supported."""
    if value is None:
        raise ScriptedRefusal(NOT_SUPPORTED)
    dereference(reference).value = value


def fill(buffer: Any, size: Any, text: str) -> None:
    """Writes a text into a buffer of this size; refuses if it does not fit."""
    data = text.encode()
    if len(data) >= read_number(size):
        raise ScriptedRefusal(INSUFFICIENT_SIZE)
    buffer.value = data


def require_gpu(target: ScriptedHandle) -> ScriptedDevice:
    """The GPU of a handle; a handle of a MIG instance is refused as not supported."""
    if target.instance is not None:
        raise ScriptedRefusal(NOT_SUPPORTED)
    return target.device


# ------------------------------------------------------------------------------------------------ what a call is about


def find_nothing(nvml: ScriptedLibrary, *_: Any) -> None:
    """None, for functions about no device."""


def find_by_handle(nvml: ScriptedLibrary, handle: Any, *_: Any) -> ScriptedHandle:
    """The device or instance of a handle."""
    wanted = ctypes.cast(handle, ctypes.c_void_p).value
    return _first((t for t in list_handles(nvml.scenario) if t.handle == wanted), INVALID_ARGUMENT)


def find_by_index(nvml: ScriptedLibrary, index: Any, *_: Any) -> ScriptedHandle:
    """The GPU of this index."""
    gpus = (t for t in list_handles(nvml.scenario) if t.instance is None)
    return _first((t for t in gpus if t.index == read_number(index)), INVALID_ARGUMENT)


def find_by_uuid(nvml: ScriptedLibrary, uuid: Any, *_: Any) -> ScriptedHandle:
    """The GPU or instance of this UUID."""
    return _first(t for t in list_handles(nvml.scenario) if t.part.uuid == read_text(uuid))


def find_by_pci(nvml: ScriptedLibrary, bus_id: Any, *_: Any) -> ScriptedHandle:
    """The GPU of this PCI id."""
    wanted = parse_pci_id(read_text(bus_id))
    gpus = (t for t in list_handles(nvml.scenario) if t.instance is None)
    return _first(t for t in gpus if parse_pci_id(t.device.pci_bus_id) == wanted)


def find_instance(nvml: ScriptedLibrary, handle: Any, index: Any, *_: Any) -> ScriptedHandle:
    """The MIG instance of this index on the GPU of a handle."""
    device = require_gpu(find_by_handle(nvml, handle))
    instances = (t for t in list_handles(nvml.scenario) if t.device is device and t.instance is not None)
    return _first(t for t in instances if t.index == read_number(index))


def find_parent(nvml: ScriptedLibrary, handle: Any, *_: Any) -> ScriptedHandle:
    """The GPU of the instance of a handle."""
    target = find_by_handle(nvml, handle)
    if target.instance is None:
        raise ScriptedRefusal(INVALID_ARGUMENT)
    return _first(t for t in list_handles(nvml.scenario) if t.device is target.device)


def _first(found: Iterable[ScriptedHandle], otherwise: int = NOT_FOUND) -> ScriptedHandle:
    for target in found:
        return target
    raise ScriptedRefusal(otherwise)


def parse_pci_id(bus_id: str) -> tuple[int, ...]:
    """Domain, bus and device: ``0000:3B:00.0`` is ``00000000:3b:00.0``."""
    match = re.match(r"([0-9a-f]+):([0-9a-f]+):([0-9a-f]+)", bus_id, re.IGNORECASE)
    if match is None:
        raise ScriptedRefusal(INVALID_ARGUMENT)
    return tuple(int(part, 16) for part in match.groups())
