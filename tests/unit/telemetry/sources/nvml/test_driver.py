"""How NVML is started, why it is not, and that it is started again after a fork or a shutdown."""

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

from pytest_llmperf.telemetry.records.source import SourceError, Why
from pytest_llmperf.telemetry.sources.nvml import backend as nvml
from pytest_llmperf.telemetry.sources.nvml.backend import NvmlBackend
from pytest_llmperf.telemetry.sources.nvml.errors import NO_PACKAGE, OLD_PACKAGE, Code
from pytest_llmperf.testing import GIB, Fault, Scenario, ScriptedDevice, ScriptedInstance, scripted_nvml
from tests.helpers.scripted_gpus import backend
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_llmperf.telemetry.records.source import Source


def no_library(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file")


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
    both_refused, first = threading.Barrier(2), iter(range(2))

    def leave() -> None:
        if armed and next(first, None) is not None:
            both_refused.wait(PATIENCE_S)

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
    with backend(ScriptedDevice(used=GIB), ScriptedDevice(mig=[ScriptedInstance(), ScriptedInstance()])) as (
        gpus,
        _,
        double,
    ):
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
