from __future__ import annotations

import pynvml
import pytest

from pytest_llmperf.telemetry.records.source import SourceError, Why
from pytest_llmperf.telemetry.sources.nvml.backend import NvmlBackend
from pytest_llmperf.telemetry.sources.nvml.errors import Code
from pytest_llmperf.testing import GIB, Fault, Scenario, ScriptedDevice, ScriptedInstance, scripted_nvml
from tests.helpers.scripted_gpus import backend

TWO = "GPU-00000000-0000-0000-0000-000000000001"


def sliced() -> ScriptedDevice:
    parts = [ScriptedInstance(gpu_instance=1, used=GIB), ScriptedInstance(gpu_instance=13, used=2 * GIB)]
    return ScriptedDevice(name="NVIDIA A100", mig=parts)


# -------------------------------------------------------------------------------------------------- what there is


def test_gpus_come_in_the_drivers_order_and_mig_instances_after_them() -> None:
    with backend(sliced(), ScriptedDevice(name="NVIDIA L4")) as (gpus, _, _):
        facts = gpus.devices()
    assert [(device.slot, device.index, device.name) for device in facts] == [
        (0, 0, "NVIDIA A100"),
        (1, 1, "NVIDIA L4"),
        (2, 0, "NVIDIA A100 MIG 1g.5gb"),
        (3, 1, "NVIDIA A100 MIG 1g.5gb"),
    ]
    assert [device.has_instances for device in facts] == [True, False, False, False]
    assert [device.parent for device in facts] == ["", "", facts[0].uuid, facts[0].uuid]
    assert [device.instance for device in facts] == ["", "", "1/0", "13/0"]
    assert facts[3].uuid.startswith("MIG-")
    assert {device.backend for device in facts} == {"nvml"}


def test_instances_without_readable_ids_are_known_by_their_uuid_alone() -> None:
    with backend(sliced(), missing=frozenset({"nvmlDeviceGetGpuInstanceId"})) as (gpus, _, _):
        assert [device.instance for device in gpus.devices()] == ["", "", ""]


def test_a_gpu_that_is_forbidden_is_named_and_the_others_are_listed() -> None:
    fault = Fault("nvmlDeviceGetHandleByIndex_v2", Code.NO_PERMISSION, times=1)
    with backend(ScriptedDevice(), ScriptedDevice(), faults=(fault,)) as (gpus, _, _):
        assert [(device.slot, device.index, device.uuid) for device in gpus.devices()] == [(0, 1, TWO)]
        assert len(gpus.unlisted) == 1
        assert gpus.unlisted[0].startswith("GPU 0: this user may not read the identity")


def test_when_every_gpu_is_forbidden_the_backend_is_unavailable() -> None:
    fault = Fault("nvmlDeviceGetHandleByIndex_v2", Code.NO_PERMISSION)
    with (
        backend(faults=(fault,)) as (gpus, _, _),
        pytest.raises(SourceError, match="GPU 0: this user may not") as refused,
    ):
        gpus.devices()
    assert refused.value.why is Why.UNAVAILABLE


def test_a_gpu_whose_mig_mode_is_not_told_is_not_taken_for_one_without_mig() -> None:
    fault = Fault("nvmlDeviceGetMigMode", Code.TIMEOUT, device=TWO)
    with backend(ScriptedDevice(), ScriptedDevice(), faults=(fault,)) as (gpus, _, _):
        assert [device.index for device in gpus.devices()] == [0]
        assert "GPU 1: the driver did not give the identity in time" in gpus.unlisted[0]


def test_instances_that_are_not_shown_are_named() -> None:
    room = Fault("nvmlDeviceGetMaxMigDeviceCount", Code.NO_PERMISSION)
    with backend(sliced(), faults=(room,)) as (gpus, _, _):
        assert [device.name for device in gpus.devices()] == ["NVIDIA A100"]
        assert "MIG instances of NVIDIA A100 (GPU-00000000): this user may not" in gpus.unlisted[0]
    one = Fault("nvmlDeviceGetMigDeviceHandleByIndex", Code.NO_PERMISSION, times=1)
    with backend(sliced(), faults=(one,)) as (gpus, _, _):
        assert [device.instance for device in gpus.devices()] == ["", "13/0"]
        assert "MIG instance 0 of NVIDIA A100 (GPU-00000000): this user may not" in gpus.unlisted[0]


def test_devices_keep_their_slots_however_often_they_are_asked_for() -> None:
    with backend(sliced()) as (gpus, _, double):
        first = gpus.devices()
        assert gpus.devices() == first
        assert double.calls["nvmlDeviceGetHandleByIndex_v2"] == 1


def test_the_version_of_the_driver_is_told() -> None:
    with backend(driver_version="550.54.15") as (gpus, _, _):
        assert gpus.driver_version() == "550.54.15"


# ------------------------------------------------------------------------------------------------- calls are named


def test_every_call_that_may_hang_is_named_before_it_is_made_and_taken_back_after_it() -> None:
    notes: list[str] = []
    with scripted_nvml(Scenario([ScriptedDevice()])):
        gpus = NvmlBackend(notes.append, lambda: notes.append("-"))
        gpus.devices()
        assert notes[:2] == ["nvmlInit", "-"]
        notes.clear()
        gpus.sensors(0).read(1)
        assert notes == ["nvmlDeviceGetFieldValues", "-"]
        gpus.processes(0)
        assert "nvmlDeviceGetComputeRunningProcesses_v3" in notes
        notes.clear()
        gpus.memory(0).read(1)
        assert notes == []  # this one is named by who reads it
        gpus.close()


def test_a_call_that_fails_is_taken_back_as_well() -> None:
    notes: list[str] = []
    script = Scenario([ScriptedDevice()], faults=[Fault("nvmlInit_v2", Code.UNKNOWN)])
    with scripted_nvml(script), pytest.raises(SourceError):
        NvmlBackend(notes.append, lambda: notes.append("-")).devices()
    assert notes == ["nvmlInit", "-"]


def test_functions_of_pynvml_that_another_package_replaced_are_not_needed_to_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def replaced(handle: object) -> None:
        raise AssertionError("the replacement was called")

    for name in ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetFieldValues", "nvmlDeviceGetTemperature"):
        monkeypatch.setattr(pynvml, name, replaced)
    with backend(ScriptedDevice(used=GIB)) as (gpus, _, _):
        assert gpus.memory(0).read(1)[0].value == GIB
        assert gpus.sensors(0).read(1)
        assert gpus.state(0).read(1)
