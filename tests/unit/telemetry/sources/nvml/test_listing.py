"""How the memory of each device is read, and why that of some is not."""

from __future__ import annotations

import pytest

from pytest_llmperf.telemetry.records.ring import DEVICE_MEMORY, RingRecord
from pytest_llmperf.telemetry.records.source import SourceError, Why
from pytest_llmperf.telemetry.sources.nvml.errors import Code, is_integrated, used_includes_reserved
from pytest_llmperf.testing import GIB, Fault, ScriptedDevice, ScriptedInstance, Spike
from tests.helpers.scripted_gpus import SECOND, backend

V1, V2 = "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo_v2"


def card(name: str = "NVIDIA L4", *, unified: bool = False) -> ScriptedDevice:
    return ScriptedDevice(name=name, total=24 * GIB, reserved=GIB, used=3 * GIB, unified=unified)


@pytest.mark.parametrize(
    ("included", "api"), [(False, "NVML memory v2"), (True, "NVML memory v2 (its used includes reserved)")]
)
def test_the_level_leaves_out_what_the_driver_reserves_whichever_way_it_counts(included: bool, api: str) -> None:
    with backend(card(), v2_used_includes_reserved=included) as (gpus, _, _):
        (facts,) = gpus.devices()
        assert (facts.total_bytes, facts.memory_api, facts.no_memory) == (24 * GIB, api, "")
        assert list(gpus.memory(0).read(7)) == [RingRecord(7, 3 * GIB, 0, 0, DEVICE_MEMORY)]


def test_the_level_follows_the_device_at_one_driver_call_each() -> None:
    gpu = ScriptedDevice(used=GIB, spikes=[Spike(10 * SECOND, 11 * SECOND, 2 * GIB)])
    with backend(gpu) as (gpus, script, double):
        memory = gpus.memory(0)
        calls = double.calls.total()
        assert memory.read(1)[0].value == 3 * GIB
        script.now_ns = 11 * SECOND
        assert memory.read(2)[0].value == GIB
        assert double.calls.total() == calls + 2


def test_a_driver_before_510_is_read_by_v1_which_counts_reserved_memory_as_used() -> None:
    with backend(card(), driver_version="470.256.02") as (gpus, _, double):
        (facts,) = gpus.devices()
        assert (facts.total_bytes, facts.memory_api) == (24 * GIB, "NVML memory v1")
        assert gpus.memory(0).read(7)[0].value == 4 * GIB
        assert double.calls[V2] == 0


@pytest.mark.parametrize("code", [Code.UNKNOWN, Code.ARGUMENT_VERSION_MISMATCH, Code.NOT_SUPPORTED])
def test_where_v2_always_fails_as_under_wsl_the_level_is_that_of_v1(code: Code) -> None:
    with backend(card(), faults=(Fault(V2, code),)) as (gpus, _, _):
        (facts,) = gpus.devices()
        assert (facts.total_bytes, facts.memory_api, facts.unified) == (24 * GIB, "NVML memory v1", False)
        assert gpus.memory(0).read(7)[0].value == 4 * GIB


@pytest.mark.parametrize("code", [Code.UNKNOWN, Code.NOT_SUPPORTED, Code.TIMEOUT])
def test_v2_that_fails_once_is_not_given_up_for_v1(code: Code) -> None:
    with backend(card(), faults=(Fault(V2, code, times=1),)) as (gpus, _, _):
        assert gpus.devices()[0].memory_api == "NVML memory v2"


def test_an_integrated_gpu_that_supports_neither_computes_in_the_memory_of_the_host() -> None:
    with backend(card("NVIDIA GB10", unified=True)) as (gpus, _, _):
        (facts,) = gpus.devices()
        assert (facts.unified, facts.total_bytes, facts.memory_api) == (True, None, "")
        assert "computes in the host's" in facts.no_memory
        with pytest.raises(SourceError, match="no memory of its own") as refused:
            gpus.memory(0)
        assert refused.value.why is Why.ABSENT


@pytest.mark.parametrize(
    ("name", "faults", "words"),
    [
        ("NVIDIA H100", ((V2, Code.NOT_SUPPORTED), (V1, Code.NOT_SUPPORTED)), "the driver gives no memory level"),
        ("NVIDIA GB10", ((V2, Code.NOT_SUPPORTED), (V1, Code.UNKNOWN)), "for a reason unknown to itself"),
        ("NVIDIA GB10", ((V2, Code.UNKNOWN), (V1, Code.NOT_SUPPORTED)), "the driver gives no memory level"),
        ("NVIDIA GB10", ((V2, Code.GPU_IS_LOST),), "the GPU is lost"),
        ("NVIDIA GB10", ((V2, Code.NO_PERMISSION),), "this user may not read the memory level"),
        ("NVIDIA GB10", ((V2, Code.TIMEOUT),), "did not give the memory level in time"),
    ],
)
def test_nothing_else_is_taken_for_unified_memory(name: str, faults: tuple[tuple[str, Code], ...], words: str) -> None:
    with backend(card(name), faults=tuple(Fault(*fault) for fault in faults)) as (gpus, _, _):
        (facts,) = gpus.devices()
        assert (facts.unified, facts.total_bytes) == (False, None)
        assert words in facts.no_memory
        with pytest.raises(SourceError, match=words):
            gpus.memory(0)


def test_a_mig_instance_has_memory_of_its_own() -> None:
    sliced = ScriptedDevice(name="NVIDIA A100", used=9 * GIB, mig=[ScriptedInstance(total=5 * GIB, used=2 * GIB)])
    with backend(sliced) as (gpus, _, _):
        assert gpus.devices()[1].total_bytes == 5 * GIB
        assert list(gpus.memory(1).read(7)) == [RingRecord(7, 2 * GIB, 1, 0, DEVICE_MEMORY)]


@pytest.mark.parametrize(
    ("name", "integrated"),
    [
        ("NVIDIA GB10", True),
        ("NVIDIA Thor", True),
        ("Orin (nvgpu)", True),
        ("Xavier", True),
        ("NVIDIA Tegra X1", True),
        ("NVIDIA Jetson AGX", True),
        ("NVIDIA GB100", False),
        ("NVIDIA GB200", False),
        ("NVIDIA GH200 480GB", False),
        ("NVIDIA H100 80GB HBM3", False),
    ],
)
def test_integrated_gpus_are_known_by_name(name: str, integrated: bool) -> None:
    assert is_integrated(name) is integrated


@pytest.mark.parametrize(
    ("total", "reserved", "free", "used", "included"),
    [
        (81920, 600, 81312, 8, False),
        (81920, 600, 81312, 608, True),
        (81920, 0, 81912, 8, False),
    ],
)
def test_the_way_a_driver_counts_is_told_by_which_sum_is_the_total(
    total: int, reserved: int, free: int, used: int, included: bool
) -> None:
    assert used_includes_reserved(total, reserved, free, used) is included
