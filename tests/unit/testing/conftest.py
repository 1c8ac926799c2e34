"""One scripted GPU, its clock moved by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pynvml
import pytest

from pytest_llmperf.testing import NvmlDouble, Scenario, ScriptedDevice, scripted_nvml

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def gpu() -> ScriptedDevice:
    return ScriptedDevice()


@pytest.fixture
def scenario(gpu: ScriptedDevice) -> Scenario:
    return Scenario([gpu], now_ns=0)


@pytest.fixture
def nvml(scenario: Scenario) -> Iterator[NvmlDouble]:
    with scripted_nvml(scenario) as double:
        pynvml.nvmlInit()
        yield double


@pytest.fixture
def handle(nvml: NvmlDouble) -> Any:
    return pynvml.nvmlDeviceGetHandleByIndex(0)
