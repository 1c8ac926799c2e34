"""What is said of an engine and of its devices."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize("glob", ["new", "n*", "vllm", "vl*", "vllm:m[1]", "vllm:*", "*"])
def test_a_variant_is_called_by_its_label_its_name_and_its_model(glob: str) -> None:
    assert EngineInfo("vllm", "1", "m[1]", variant="new").is_called(glob)


@pytest.mark.parametrize("glob", ["old", "new:m", "m", ""])
def test_a_variant_is_not_called_by_anything_else(glob: str) -> None:
    assert not EngineInfo("vllm", "1", "m", variant="new").is_called(glob)


def test_a_label_takes_the_place_of_name_and_model() -> None:
    plain, new = EngineInfo("vllm", "1", "m"), EngineInfo("vllm", "1", "m", variant="new")
    assert (plain.label, plain.title) == ("vllm:m", "vllm")
    assert (new.label, new.title) == ("new", "new")
