"""Scripted GPUs below the NVML backend, for its tests."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_llmperf.telemetry.sources.nvml.backend import NvmlBackend
from pytest_llmperf.testing import Scenario, ScriptedDevice, scripted_nvml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_llmperf.testing import Fault, NvmlDouble

SECOND = 10**9


@contextmanager
def backend(
    *devices: ScriptedDevice, faults: tuple[Fault, ...] = (), **scenario: object
) -> Iterator[tuple[NvmlBackend, Scenario, NvmlDouble]]:
    """A backend over these devices (one L4 where none is given), on a clock that stands at 10 s."""
    script = Scenario(list(devices or (ScriptedDevice(),)), now_ns=10 * SECOND, faults=list(faults), **scenario)  # type: ignore[arg-type]
    with scripted_nvml(script) as double:
        nvml = NvmlBackend()
        yield nvml, script, double
        script.faults.clear()
        nvml.close()
