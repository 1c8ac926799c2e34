from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.device import cpu_device, visible_devices

if TYPE_CHECKING:
    from pathlib import Path


def test_the_cpu_is_called_by_its_model_name(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: AMD EPYC  9654 96-Core \nflags\t: a b\nmodel name\t: other\n")
    device = cpu_device(cpuinfo)
    assert (device.kind, device.name) == ("cpu", "CPU AMD EPYC 9654 96-Core")


@pytest.mark.parametrize("content", [None, "CPU architecture: 8\n"])
def test_a_cpu_without_a_model_name_is_called_by_its_architecture(
    tmp_path: Path, content: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    cpuinfo = tmp_path / "cpuinfo"
    if content is not None:
        cpuinfo.write_text(content)
    assert cpu_device(cpuinfo).name == "CPU aarch64"


def test_auto_leaves_the_callers_devices_as_they_are() -> None:
    assert visible_devices("auto", {"CUDA_VISIBLE_DEVICES": "1"}) is None


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
    assert visible_devices(selection, {"CUDA_VISIBLE_DEVICES": caller}) == expected


def test_without_a_callers_list_indices_mean_all_devices_of_the_host() -> None:
    assert visible_devices("0,2", {}) == "0,2"


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
        visible_devices(selection, {"CUDA_VISIBLE_DEVICES": caller})
    assert "\n" not in str(refused.value)
