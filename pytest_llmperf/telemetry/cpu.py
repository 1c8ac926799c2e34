"""Where an engine of this host computes, and how the CPU is called."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from pytest_llmperf.measurement.engine_info import Device


def cpu_device(cpuinfo: Path = Path("/proc/cpuinfo")) -> Device:
    """This host's processor: ``CPU AMD EPYC 9654``; its architecture where the model has no name."""
    return Device("cpu", f"CPU {_model_name(cpuinfo) or platform.processor() or platform.machine()}")


def _model_name(cpuinfo: Path) -> str:
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(r"^model name\s*:\s*(.+?)\s*$", text, re.MULTILINE)
    return " ".join(match[1].split()) if match else ""


def engine_devices() -> tuple[Device, ...]:
    """Where an engine of this host computes: the CPU; unknown, ``()``, where the host has an NVIDIA driver."""
    return () if Path("/dev/nvidiactl").exists() else (cpu_device(),)
