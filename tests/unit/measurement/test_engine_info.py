"""What is said of an engine and of its devices."""

from __future__ import annotations

from pytest_llmperf.measurement.engine_info import Device, EngineInfo
from tests.helpers.streams import CPU, L4


def test_an_engine_names_its_devices_once_each_and_in_order() -> None:
    devices = (Device("cuda", "NVIDIA L4", "1"), Device("cuda", "NVIDIA A10", "2"), Device("cuda", "NVIDIA L4", "3"))
    assert EngineInfo("vllm", "1", "m", devices).device_name == "NVIDIA A10 + NVIDIA L4"
    assert EngineInfo("openai", "1", "m").device_name == "unknown device"


def test_an_engine_is_on_the_cpu_only_if_all_its_devices_are_known_to_be() -> None:
    assert CPU.on_cpu
    assert not L4.on_cpu
    assert not EngineInfo("openai", "1", "m").on_cpu
    assert not EngineInfo("ollama", "1", "m", (*CPU.devices, *L4.devices)).on_cpu
