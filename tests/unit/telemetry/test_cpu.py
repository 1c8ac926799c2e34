from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.cpu import cpu_device, has_amx
from pytest_llmperf.telemetry.sources.drivers import has_gpu

if TYPE_CHECKING:
    from pathlib import Path


def test_the_cpu_is_called_by_its_model_name(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nmodel name\t: AMD EPYC  9654 96-Core \nflags\t: a b\nmodel name\t: other\n", encoding="utf-8"
    )
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
        cpuinfo.write_text(content, encoding="utf-8")
    assert cpu_device(cpuinfo).name == "CPU aarch64"


def test_amx_is_a_flag_of_the_processor(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    assert not has_amx(cpuinfo)
    cpuinfo.write_text("flags\t\t: fpu avx512f amx_bf16 amx_tile amx_int8\n", encoding="utf-8")
    assert has_amx(cpuinfo)
    cpuinfo.write_text("flags\t\t: fpu avx512f\n", encoding="utf-8")
    assert not has_amx(cpuinfo)


@pytest.mark.parametrize("node", ["", "dri/card0", "dri/renderD128", "kfd", "dxg"])
def test_a_gpu_has_a_node_to_compute_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node: str) -> None:
    monkeypatch.setattr("pytest_llmperf.telemetry.sources.drivers.has_driver", lambda: False)
    monkeypatch.setattr("sys.platform", "linux")
    path = tmp_path / (node or "null")
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert has_gpu(tmp_path) == (node not in ("", "dri/card0"))
