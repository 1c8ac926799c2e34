"""What is said of an engine and of its devices."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from pytest_llmperf.measurement.engine_info import Device, EngineInfo, classify_version
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


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.31.2", "0"),
        ("0.32.0+cpu", "0"),
        ("v1.2", "1"),
        ("0.1.dev1+g3f2a", "0"),
        ("b11549", "b"),
        ("b11549-3f2a1c", "b"),
        ("2026.10.11549", "b"),
        ("11549", "b"),
        ("unknown", ""),
        ("", ""),
    ],
)
def test_versions_between_which_an_upgrade_is_judged_are_of_one_class(version: str, expected: str) -> None:
    assert classify_version(version) == expected


LIKE = replace(L4, digest="ab12", quantisation="fp8", arguments=(("max_model_len", "2048"),))


@pytest.mark.parametrize(
    "changed",
    [
        {"version": "0.12.1"},
        {"variant": "new"},
        {"startup_seconds": 1.0},
        {"model": "another/name-of-the-same-files"},
        {"asked_as": "llmperf/m:1-ab"},
        {"devices": tuple(replace(device, uuid="GPU-2") for device in L4.devices)},
    ],
)
def test_engines_whose_numbers_may_be_compared_have_one_fingerprint(changed: dict[str, Any]) -> None:
    assert replace(LIKE, **changed).fingerprint == LIKE.fingerprint


def test_engines_whose_numbers_may_not_be_compared_have_different_fingerprints() -> None:
    changes: list[dict[str, Any]] = [
        {"name": "sglang"},
        {"version": "1.0.0"},
        {"digest": "cd34"},
        {"digest": ""},
        {"quantisation": ""},
        {"arguments": ()},
        {"arguments": (("max_model_len", "4096"),)},
        {"devices": L4.devices * 2},
        {"devices": ()},
        {"devices": CPU.devices},
    ]
    prints = {replace(LIKE, **change).fingerprint for change in changes} | {LIKE.fingerprint}
    assert len(prints) == len(changes) + 1
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in prints)


def test_without_a_digest_a_model_is_its_name_wherever_its_file_lies() -> None:
    here, there, other = (EngineInfo("vllm", "1", model) for model in ("/a/m.gguf", "~/b/m.gguf", "/a/n.gguf"))
    assert here.fingerprint == there.fingerprint != other.fingerprint


def test_devices_count_in_any_order() -> None:
    both = (*CPU.devices, *L4.devices)
    assert replace(LIKE, devices=both).fingerprint == replace(LIKE, devices=both[::-1]).fingerprint
