"""The CPU as a device, and whether engines of this host compute on it."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from pytest_llmperf.measurement.engine_info import Device
from pytest_llmperf.telemetry.sources.drivers import has_driver


def cpu_device(cpuinfo: Path = Path("/proc/cpuinfo")) -> Device:
    """This host's processor as a device, ``CPU AMD EPYC 9654``; ``CPU x86_64`` if its model has no name."""
    return Device("cpu", f"CPU {_model_name(cpuinfo) or platform.processor() or platform.machine()}")


def has_amx(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this host's processor has AMX units."""
    try:
        return "amx_tile" in cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _model_name(cpuinfo: Path) -> str:
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(r"^model name\s*:\s*(.+?)\s*$", text, re.MULTILINE)
    return " ".join(match[1].split()) if match else ""


def engine_devices() -> tuple[Device, ...]:
    """The devices that engines of this host compute on: the CPU, or ``()`` (unknown) if there is an NVIDIA driver."""
    return () if has_driver() else (cpu_device(),)
