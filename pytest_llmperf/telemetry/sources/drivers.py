"""The device drivers of this host. A backend of another vendor is opened here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.telemetry.sources.nvml.abi import DEVICE_NODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.telemetry.records.source import DeviceBackend


def has_driver() -> bool:
    """Whether this host has the driver of a device that can be read: NVIDIA's."""
    return DEVICE_NODE.exists()


def has_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether this host may have a GPU of any kind, whether it can be read or not."""
    nodes = ("dri/renderD*", "kfd", "dxg", "nvhost-gpu", "mali0")
    return has_driver() or sys.platform == "darwin" or any(any(devices.glob(node)) for node in nodes)


def open_backend(begin_call: Callable[[str], None], end_call: Callable[[], None]) -> DeviceBackend:
    """The backend of this host's devices, which notes each call of the driver by its name. It calls no driver yet."""
    from pytest_llmperf.telemetry.sources.nvml.backend import NvmlBackend

    return NvmlBackend(begin_call, end_call)
