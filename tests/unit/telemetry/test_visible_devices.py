from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.records.source import DeviceFacts
from pytest_llmperf.telemetry.visible_devices import (
    filter_visible,
    parse_visible_devices,
    select_devices,
    why_ambiguous,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_auto_leaves_the_callers_devices_as_they_are() -> None:
    assert select_devices("auto", {"CUDA_VISIBLE_DEVICES": "1"}) is None


@pytest.mark.parametrize(
    ("selection", "caller", "expected"),
    [
        ("0", "3,5", "3"),
        ("1,0", "3,5", "5,3"),
        ("0, 1", " 3 , 5 ", "3,5"),
        ("0", "GPU-8932f937,GPU-1b2c", "GPU-8932f937"),
        ("GPU-8932f937-aaaa", "GPU-8932f937,GPU-1b2c", "GPU-8932f937-aaaa"),
        ("GPU-8932", "GPU-8932f937,GPU-1b2c", "GPU-8932"),
        ("GPU-8932f937", "0,1", "GPU-8932f937"),
        ("MIG-11-22", "MIG-11-22", "MIG-11-22"),
        ("MIG-GPU-ab12/1/0", "2", "MIG-GPU-ab12/1/0"),
    ],
)
def test_indices_count_inside_the_callers_list_and_uuids_pass(selection: str, caller: str, expected: str) -> None:
    assert select_devices(selection, {"CUDA_VISIBLE_DEVICES": caller}) == expected


def test_without_a_callers_list_indices_mean_all_devices_of_the_host() -> None:
    assert select_devices("0,2", {}) == "0,2"


@pytest.mark.parametrize(
    ("selection", "caller", "message"),
    [
        ("2", "3,5", r"--llmperf-gpus=2: there is no device 2, CUDA_VISIBLE_DEVICES shows 2 devices \(3,5\)"),
        ("1", "3", r"no device 1, CUDA_VISIBLE_DEVICES shows 1 device \(3\)"),
        ("0", "", "no device 0, CUDA_VISIBLE_DEVICES shows none"),
        ("0", "-1", "no device 0, CUDA_VISIBLE_DEVICES shows none"),
        ("2", "0,2,-1,1", r"shows 2 devices \(0,2\)"),
        ("GPU-ffff", "GPU-8932f937", r"GPU-ffff is not visible, .* 1 device \(GPU-8932f937\)"),
        ("GPU-ffff", "", "GPU-ffff is not visible, CUDA_VISIBLE_DEVICES shows none"),
        ("0,0", "3,5", "names a device twice"),
        ("-1", "3,5", "write auto, indices"),
        ("", "3,5", "write auto, indices"),
        ("all", "3,5", "--llmperf-gpus=all: write auto, indices"),
    ],
)
def test_a_selection_that_cannot_be_met_is_refused_in_one_line(selection: str, caller: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        select_devices(selection, {"CUDA_VISIBLE_DEVICES": caller})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("selection", ["0,GPU-1b2c", "GPU-1b2c,MIG-11"])
def test_a_selection_that_mixes_indices_and_uuids_is_refused_since_cuda_reads_one_kind_only(selection: str) -> None:
    with pytest.raises(ValueError, match="mixes indices"):
        select_devices(selection, {})


# ------------------------------------------------------------------------------------------ what CUDA makes of a value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0,2,-1,1", ["0", "2"]),
        ("1gpu2,2ampere", ["1", "2"]),
        ("03", ["3"]),
        ("", []),
        ("NoDevFiles", []),
        ("0,GPU-ab", ["0"]),
        ("GPU-ab,0", ["GPU-ab"]),
        ("GPU-ab,MIG-cd", ["GPU-ab"]),
        ("MIG-GPU-ab/1/0,MIG-cd", ["MIG-GPU-ab/1/0", "MIG-cd"]),
        ("0,1,0", []),
        ("GPU-ab,GPU-ab", []),
        ("0,-1,0", ["0"]),
    ],
)
def test_a_list_ends_at_its_first_invalid_entry_and_one_that_repeats_a_device_is_empty(
    value: str, expected: list[str]
) -> None:
    assert parse_visible_devices(value) == expected


def gpu(slot: int, uuid: str, name: str = "NVIDIA L4", *, index: int | None = None, mig: bool = False) -> DeviceFacts:
    return DeviceFacts(slot, uuid, name, slot if index is None else index, "nvml", "cuda", has_instances=mig)


def instance(slot: int, uuid: str, parent: str, ids: str) -> DeviceFacts:
    return DeviceFacts(slot, uuid, "NVIDIA A100 MIG 1g.5gb", 0, "nvml", "cuda", parent=parent, instance=ids)


PLAIN = [gpu(0, "GPU-aa11"), gpu(1, "GPU-aa22"), gpu(2, "GPU-bb33")]
SLICED = [
    gpu(0, "GPU-aa11"),
    gpu(1, "GPU-cc44", "NVIDIA A100", mig=True),
    instance(2, "MIG-1111", "GPU-cc44", "1/0"),
    instance(3, "MIG-2222", "GPU-cc44", "13/0"),
]


def slots(devices: Sequence[DeviceFacts]) -> list[int]:
    return [device.slot for device in devices]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("2,0", [2, 0]),
        ("1,7,0", [1]),
        ("1,1", []),
        ("GPU-bb", [2]),
        ("GPU-bb33,GPU-aa1", [2, 0]),
        ("GPU-bb33,GPU-aa", [2]),
        ("GPU-aa11,GPU-aa1", []),
        ("GPU-ff,GPU-bb33", []),
    ],
)
def test_devices_are_found_by_number_and_by_unambiguous_beginnings_of_their_uuids(
    value: str | None, expected: list[int]
) -> None:
    assert slots(filter_visible(PLAIN, value)) == expected


def test_numbers_count_by_the_index_of_the_driver_and_not_by_slot() -> None:
    facts = [gpu(0, "GPU-a", index=3), gpu(1, "GPU-b", index=1)]
    assert slots(filter_visible(facts, "0")) == [1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", [0]),
        ("1", [2]),
        ("GPU-cc44", [2]),
        ("MIG-2222", [3]),
        ("MIG-22", [3]),
        ("MIG-GPU-cc44/13/0", [3]),
        ("MIG-GPU-cc44/1/0", [2]),
        ("MIG-GPU-cc44/1", []),
        ("MIG-2222,MIG-1111", [3]),
        ("0,1", [2]),
        (None, [2]),
    ],
)
def test_a_gpu_with_mig_stands_for_its_first_instance_and_one_instance_is_all_that_is_used(
    value: str | None, expected: list[int]
) -> None:
    assert slots(filter_visible(SLICED, value)) == expected


def test_a_gpu_with_mig_on_but_no_instance_is_of_no_use_to_anybody() -> None:
    facts = [gpu(0, "GPU-cc44", mig=True), gpu(1, "GPU-aa11")]
    assert slots(filter_visible(facts, None)) == [1]
    assert slots(filter_visible(facts, "0")) == []


MIXED = [gpu(0, "GPU-a", "NVIDIA L4"), gpu(1, "GPU-b", "NVIDIA H100"), gpu(2, "GPU-c", "NVIDIA L4")]


def test_numbers_that_choose_among_unlike_gpus_are_ambiguous_without_the_order_of_the_driver() -> None:
    sentence = why_ambiguous(MIXED, "0,1", None)
    assert sentence.startswith("CUDA_VISIBLE_DEVICES=0,1 may mean other GPUs")
    assert "(NVIDIA H100, NVIDIA L4)" in sentence
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in sentence
    assert why_ambiguous(MIXED, "0", "FASTEST_FIRST")


@pytest.mark.parametrize(
    ("facts", "value", "order"),
    [
        (MIXED, "0,1", "PCI_BUS_ID"),
        (MIXED, None, None),
        (MIXED, "", None),
        (MIXED, "0,1,2", None),
        (MIXED, "GPU-a", None),
        (PLAIN, "0,1", None),
        (SLICED[1:], "0", None),
    ],
)
def test_numbers_are_not_ambiguous_where_they_can_mean_only_one_thing(
    facts: Sequence[DeviceFacts], value: str | None, order: str | None
) -> None:
    assert why_ambiguous(facts, value, order) == ""
