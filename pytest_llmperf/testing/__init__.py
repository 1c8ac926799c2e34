"""Scripted GPUs for tests of code that measures GPUs, read through the real ``pynvml``."""

from __future__ import annotations

from pytest_llmperf.testing.double import NvmlDouble, scripted_nvml
from pytest_llmperf.testing.scenario import (
    ANY,
    FOREVER,
    GIB,
    Curve,
    Delay,
    Fault,
    Scenario,
    ScriptedDevice,
    ScriptedInstance,
    ScriptedMemory,
    ScriptedProcess,
    Spike,
    Throttle,
)

__all__ = [
    "ANY",
    "FOREVER",
    "GIB",
    "Curve",
    "Delay",
    "Fault",
    "NvmlDouble",
    "Scenario",
    "ScriptedDevice",
    "ScriptedInstance",
    "ScriptedMemory",
    "ScriptedProcess",
    "Spike",
    "Throttle",
    "scripted_nvml",
]
