from __future__ import annotations

import ctypes
import os
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import TYPE_CHECKING

import pynvml
import pytest

from pytest_llmperf.telemetry import nvml
from pytest_llmperf.telemetry.nvml import NvmlBackend
from pytest_llmperf.telemetry.nvml_errors import NO_PACKAGE, OLD_PACKAGE, Code
from pytest_llmperf.telemetry.source import SourceError, Why
from pytest_llmperf.testing import GIB, Fault, Scenario, ScriptedDevice, ScriptedInstance, scripted_nvml
from tests.unit.scripted_gpus import backend

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_llmperf.telemetry.source import Source

TWO = "GPU-00000000-0000-0000-0000-000000000001"


def no_library(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file")


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


# ------------------------------------------------------------------------------------- starting, and starting again


def test_nvml_is_started_once_for_everything_and_stopped_once() -> None:
    with scripted_nvml(Scenario([ScriptedDevice()])) as double:
        gpus = NvmlBackend()
        assert double.calls["nvmlInit_v2"] == 0
        gpus.devices()
        gpus.memory(0).read(1)
        gpus.processes(0)
        gpus.close()
        gpus.close()
        assert (double.calls["nvmlInit_v2"], double.calls["nvmlShutdown"]) == (1, 1)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (Code.DRIVER_NOT_LOADED, "installed but not loaded: `modprobe nvidia`"),
        (Code.GPU_NOT_FOUND, "finds no GPU: see `nvidia-smi -L`; a container needs `--gpus all`"),
        (Code.LIB_RM_VERSION_MISMATCH, "was updated, but the old one is still loaded: reboot, or reload"),
        (Code.NO_PERMISSION, "may not talk to the NVIDIA driver: give it access to /dev/nvidiactl"),
        (Code.UNKNOWN, "`systemctl daemon-reload` on its host and must be started anew; under WSL update"),
        (20, r"NVML does not start \(error 20\): see `nvidia-smi`"),
    ],
)
def test_a_driver_that_does_not_start_is_one_sentence_with_its_cure(code: int, words: str) -> None:
    with (
        backend(faults=(Fault("nvmlInit_v2", code),)) as (gpus, _, _),
        pytest.raises(SourceError, match=words) as refused,
    ):
        gpus.devices()
    assert refused.value.why is Why.UNAVAILABLE
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("has_node", "words"),
    [
        (False, r"no NVIDIA driver here .*: install one, or start the container with its GPUs \(`--gpus all`\)"),
        (True, r"driver runs, but its library .* is not found: .*NVIDIA_DRIVER_CAPABILITIES=compute,utility"),
    ],
)
def test_a_missing_library_is_told_apart_by_the_device_node_of_the_driver(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_node: bool, words: str
) -> None:
    node = tmp_path / "nvidiactl"
    if has_node:
        node.touch()

    monkeypatch.setattr(nvml, "DEVICE_NODE", node)
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", no_library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    with pytest.raises(SourceError, match=words) as refused:
        NvmlBackend().devices()
    assert refused.value.why is Why.UNAVAILABLE


def test_a_driver_that_counts_no_gpu_is_unavailable() -> None:
    with scripted_nvml(Scenario([])), pytest.raises(SourceError, match="finds no GPU") as refused:
        NvmlBackend().devices()
    assert refused.value.why is Why.UNAVAILABLE


def test_a_start_that_failed_is_tried_again_the_next_time() -> None:
    with backend(faults=(Fault("nvmlInit_v2", Code.DRIVER_NOT_LOADED, times=1),)) as (gpus, _, _):
        with pytest.raises(SourceError, match="not loaded"):
            gpus.devices()
        assert len(gpus.devices()) == 1


def test_a_missing_package_is_a_sentence_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(SourceError) as refused:
        NvmlBackend().devices()
    assert (str(refused.value), refused.value.why) == (NO_PACKAGE, Why.UNAVAILABLE)
    assert "pip install nvidia-ml-py" in NO_PACKAGE


def test_a_package_of_the_same_name_that_is_too_old_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", ModuleType("pynvml"))
    with pytest.raises(SourceError) as refused:
        NvmlBackend().devices()
    assert (str(refused.value), refused.value.why) == (OLD_PACKAGE, Why.UNAVAILABLE)


def test_the_warning_of_an_abandoned_package_at_import_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Abandoned(MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name == "pynvml":
                warnings.warn("install nvidia-ml-py instead", FutureWarning, stacklevel=2)

    monkeypatch.setattr(sys, "meta_path", [Abandoned(), *sys.meta_path])
    monkeypatch.setattr(ctypes, "CDLL", no_library)
    monkeypatch.delitem(sys.modules, "pynvml")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SourceError, match="NVIDIA driver"):
            NvmlBackend().devices()
        monkeypatch.delitem(sys.modules, "pynvml")
        with pytest.raises(FutureWarning):
            import_module("pynvml")


def test_a_fork_starts_nvml_again_and_gets_new_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    with backend(ScriptedDevice(used=3 * GIB)) as (gpus, _, double):
        memory, sensors = gpus.memory(0), gpus.sensors(0)
        pid = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: pid + 1)
        assert memory.read(5)[0].value == 3 * GIB
        assert sensors.read(5)
        assert len(gpus.devices()) == 1
        assert double.calls["nvmlInit_v2"] == 2
        assert double.calls["nvmlDeviceGetHandleByUUID"] == 1


def test_after_a_fork_nothing_is_asked_before_nvml_was_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    with scripted_nvml(Scenario([ScriptedDevice()])):
        gpus = NvmlBackend(names.append)
        sensors, pid = gpus.sensors(0), os.getpid()
        names.clear()
        monkeypatch.setattr(os, "getpid", lambda: pid + 1)
        sensors.read(1)
        assert names == ["nvmlInit", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetFieldValues"]


def test_two_threads_that_find_nvml_shut_down_start_it_once() -> None:
    both_refused, first = threading.Barrier(2, timeout=60), iter(range(2))

    def leave() -> None:
        if armed and next(first, None) is not None:
            both_refused.wait()

    armed = False
    with scripted_nvml(Scenario([ScriptedDevice()])) as double:
        gpus = NvmlBackend(leave=leave)
        sources = [gpus.sensors(0), gpus.energy(0)]
        pynvml.nvmlShutdown()
        armed = True
        with ThreadPoolExecutor(2) as threads:
            assert all(threads.map(lambda source: source.read(1), sources))
        assert double.calls["nvmlInit_v2"] == 2


def test_the_child_of_a_fork_does_not_stop_what_its_parent_started(monkeypatch: pytest.MonkeyPatch) -> None:
    with backend() as (gpus, _, double):
        gpus.devices()
        pid = os.getpid()
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: pid + 1)
            gpus.close()
        assert double.calls["nvmlShutdown"] == 0


def test_whoever_shuts_nvml_down_in_this_process_does_not_end_the_readings() -> None:
    with backend(ScriptedDevice(used=GIB), sliced()) as (gpus, _, double):
        readers: list[Source] = [gpus.memory(0), gpus.memory(3), gpus.state(1), gpus.energy(2)]
        for reader in readers:
            pynvml.nvmlShutdown()
            assert reader.read(5)
        pynvml.nvmlShutdown()
        assert gpus.driver_version()
        pynvml.nvmlShutdown()
        assert gpus.processes(0) == []
        assert double.calls["nvmlInit_v2"] == 1 + len(readers) + 2


def test_handles_are_found_by_uuid_when_nvml_starts_again_in_another_order() -> None:
    with backend(ScriptedDevice(used=GIB), ScriptedDevice(used=2 * GIB, temperature=66)) as (gpus, script, _):
        memory, state = gpus.memory(0), gpus.state(1)
        pynvml.nvmlShutdown()
        script.devices.reverse()
        assert [memory.read(t)[0].value for t in (1, 2)] == [GIB, GIB]
        assert state.read(1)[0].value == 66


def test_nvml_that_does_not_stay_started_is_unavailable() -> None:
    with backend() as (gpus, script, double):
        memory, sensors = gpus.memory(0), gpus.sensors(0)
        starts = double.calls["nvmlInit_v2"]
        script.faults.append(Fault("nvmlDeviceGetMemoryInfo_v2", Code.UNINITIALIZED))
        script.faults.append(Fault("nvmlDeviceGetFieldValues", Code.UNINITIALIZED))
        for source in (memory, sensors):
            with pytest.raises(SourceError, match="did not start again") as refused:
                source.read(5)
            assert refused.value.why is Why.UNAVAILABLE
        assert double.calls["nvmlInit_v2"] == starts + 2


def test_a_driver_that_is_updated_under_a_running_session_makes_the_backend_unavailable() -> None:
    with backend() as (gpus, script, _):
        memory = gpus.memory(0)
        script.faults.append(Fault("nvmlDeviceGetMemoryInfo_v2", Code.LIB_RM_VERSION_MISMATCH))
        with pytest.raises(SourceError, match="was updated") as refused:
            memory.read(5)
        assert refused.value.why is Why.UNAVAILABLE


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
